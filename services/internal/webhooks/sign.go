package webhooks

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// secretPrefix begins each secret, as Standard Webhooks asks.
const secretPrefix = "whsec_"

// Bounds of the key of a secret in bytes, those of Standard Webhooks.
const (
	minKey = 24
	maxKey = 64
)

// errSecret says what a secret is.
var errSecret = fmt.Errorf("a secret is %q and the base64 of %d to %d random bytes", secretPrefix, minKey, maxKey)

// CheckSecret refuses what is no secret of a webhook.
func CheckSecret(secret string) error {
	_, err := keyOf(secret)
	return err
}

func keyOf(secret string) ([]byte, error) {
	text, found := strings.CutPrefix(secret, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !found || err != nil || len(key) < minKey || len(key) > maxKey {
		return nil, errSecret
	}
	return key, nil
}

// sign is the signature of a message by each of the secrets, as in the header
// webhook-signature.
func sign(message string, at time.Time, body string, secrets ...string) (string, error) {
	if len(secrets) == 0 {
		return "", errors.New("webhooks: nothing signs")
	}
	var all []string
	for _, secret := range secrets {
		key, err := keyOf(secret)
		if err != nil {
			return "", err
		}
		mac := hmac.New(sha256.New, key)
		_, _ = mac.Write([]byte(message + "." + strconv.FormatInt(at.Unix(), 10) + "." + body))
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(all, " "), nil
}
