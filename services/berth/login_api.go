package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// How the admin API is asked.
const (
	loginPatience = 30 * time.Second // for one request
	maxLoginBody  = 64 << 10         // bytes
)

// errTryLater is an outage, or too many requests.
var errTryLater = errors.New("the server cannot answer now")

// loginAPI is the admin API for logins of devices.
type loginAPI struct {
	base   string
	client *http.Client
}

func newLoginAPI(base string) loginAPI {
	return loginAPI{base, &http.Client{Timeout: loginPatience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// post sends body, and reads the answer. errTryLater where the same request may be answered later.
func (a loginAPI) post(ctx context.Context, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "berth-login")
	resp, err := a.client.Do(req)
	if err != nil {
		return errors.Join(errTryLater, err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxLoginBody))
	if err != nil {
		return errors.Join(errTryLater, err)
	}
	if resp.StatusCode != http.StatusOK {
		return refusedBy(resp, said)
	}
	if err := json.Unmarshal(said, answer); err != nil {
		return fmt.Errorf("%s did not answer as the admin API of Berth does: %w", a.base, err)
	}
	return nil
}

// refusedBy is what the server says, in characters that a terminal shows as they are.
func refusedBy(resp *http.Response, said []byte) error {
	var status struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(said, &status) != nil || status.Message == "" {
		status.Message = "no message of Berth; is it the URL of the admin API?"
	}
	text := strconv.Quote(status.Message)
	err := fmt.Errorf("the server answers %d: %s", resp.StatusCode, strings.ReplaceAll(text[1:len(text)-1], `\"`, `"`))
	if resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusTooManyRequests {
		return errors.Join(errTryLater, err)
	}
	return err
}

// onThisMachine says where a token is, for the list of tokens.
func onThisMachine() string {
	name, err := os.Hostname()
	if err != nil || !isPlain(name) {
		return ""
	}
	return " on " + name
}
