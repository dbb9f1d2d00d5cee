package admin

import (
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// deviceState is what the device keeps of a login, sealed: no node does.
type deviceState struct {
	ID          string
	Tenant      string
	TenantID    tenant.ID
	Provider    int64
	Code        string // of the issuer
	Interval    time.Duration
	Ends        time.Time
	Description string
	TTL         string
}

// deviceStates is the name to which a deviceState is sealed.
const deviceStates = "logins of devices"

func (s *Service) sealDevice(state deviceState) (string, error) {
	text, err := json.Marshal(state)
	if err != nil {
		return "", err
	}
	sealed, err := s.loginKeys.Seal(string(text), deviceStates)
	return base64.RawURLEncoding.EncodeToString(sealed), err
}

func (s *Service) openDevice(code string) (deviceState, error) {
	var state deviceState
	sealed, err := base64.RawURLEncoding.DecodeString(code)
	if err == nil {
		var text string
		if text, err = s.loginKeys.Open(sealed, deviceStates); err == nil {
			err = json.Unmarshal([]byte(text), &state)
		}
	}
	if err != nil {
		return state, fault.New(fault.Invalid, fault.RequestInvalid, "it is not the device_code of a login that began here; begin another one").WithField("device_code")
	}
	return state, nil
}
