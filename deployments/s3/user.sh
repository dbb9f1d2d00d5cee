#!/bin/sh
# Makes the bucket berth and the user berth, who owns it and has no right on any
# other, in versitygw's own list of users; run again, it sets the user's secret.
# Takes ADMIN_ENDPOINT_URL, ADMIN_ACCESS_KEY_ID, ADMIN_SECRET_ACCESS_KEY of the
# server's root, and USER_SECRET.
set -eu

admin() { versitygw admin "$@"; }

tries=60
until admin list-users >/dev/null 2>&1; do
  tries=$((tries - 1))
  [ "$tries" -gt 0 ] || { admin list-users; exit 1; }
  sleep 1
done

if admin list-users | grep -q '^berth '; then
  admin update-user --access berth --secret "$USER_SECRET" --role user
else
  admin create-user --access berth --secret "$USER_SECRET" --role user
fi

if admin list-buckets | grep -q '^berth '; then
  admin change-bucket-owner --bucket berth --owner berth
else
  admin create-bucket --bucket berth --owner berth
fi
