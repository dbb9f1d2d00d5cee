package testserver

import (
	"net/http"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// openIDDevicePage is where people log in for a device. The page asks nothing, as the login page.
const openIDDevicePage = "/device"

func (o *OpenID) serveDevice(w http.ResponseWriter, r *http.Request) {
	if err := o.storage.CompleteDeviceAuthorization(r.Context(), r.FormValue("user_code"), o.subject()); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
	}
}

// ApprovesDevice is the person of LogsIn, who types a code of a device.
func (o *OpenID) ApprovesDevice(t testing.TB, userCode string) {
	t.Helper()
	if err := o.storage.CompleteDeviceAuthorization(t.Context(), userCode, o.subject()); err != nil {
		t.Fatal(err)
	}
}

// DeniesDevice is a person who refuses a device.
func (o *OpenID) DeniesDevice(t testing.TB, userCode string) {
	t.Helper()
	o.device(t, userCode)
	if err := o.storage.DenyDeviceAuthorization(t.Context(), userCode); err != nil {
		t.Fatal(err)
	}
}

// ExpireDevice ends the time that a person has for the code of a device.
func (o *OpenID) ExpireDevice(t testing.TB, userCode string) {
	t.Helper()
	o.device(t, userCode).Expires = time.Now().Add(-time.Second)
}

func (o *OpenID) device(t testing.TB, userCode string) *op.DeviceAuthorizationState {
	t.Helper()
	d, err := o.storage.GetDeviceAuthorizationByUserCode(t.Context(), userCode)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
