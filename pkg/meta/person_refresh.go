package meta

import (
	"context"
	"time"
)

// PersonRefreshes keeps the refresh tokens by which issuers are asked of people again, and which
// logins have ended. A token counts only while it is Person.Refresh: a later login replaces it.
type PersonRefreshes interface {
	// TryRefresh notes, before it is used, that the person's refresh token is used, so that no
	// other process uses it within RefreshTry, after which the person is due again. False where one does, or where it counts no more.
	TryRefresh(ctx context.Context, p Person) (bool, error)
	// KeepRefresh puts a refresh token in the place of the person's.
	KeepRefresh(ctx context.Context, p Person, refresh []byte) error
	// LoseRefresh ends the person's refresh token, and with it the groups.
	LoseRefresh(ctx context.Context, p Person) error

	// FinishLogin notes the SHA-256 of the state of a login in a browser, which ends by itself
	// after life. fault.AlreadyExists for one that was noted before.
	FinishLogin(ctx context.Context, state [32]byte, life time.Duration) error
}

// RefreshTry is how long the use of a refresh token may take.
const RefreshTry = time.Minute
