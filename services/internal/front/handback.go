package front

import (
	"encoding/json"
	"net/http"

	"github.com/berth-registry/berth/pkg/boot/logs"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/ocihttp"
)

// refusalHeader carries from one process to another why a call is answered with
// an error: the body tells the client less, and a HEAD has none.
const refusalHeader = "Berth-Internal-Refusal"

// addRefusal adds it to the answer of a call that another process handed on.
func addRefusal(h http.Header, err error) {
	why := ocihttp.RefusalOf(err)
	why.Detail = logs.Clip(why.Detail)
	if text, err := json.Marshal(why); err == nil {
		h.Set(refusalHeader, string(text))
	}
}

// takeRefusal takes it off the answer and tells the access line of this process.
func takeRefusal(answer *http.Response) {
	text := answer.Header.Get(refusalHeader)
	answer.Header.Del(refusalHeader)
	if answer.StatusCode < http.StatusBadRequest {
		return
	}
	var why web.Refusal
	if text != "" && json.Unmarshal([]byte(text), &why) == nil {
		web.SetRefusal(answer.Request.Context(), why)
	}
	CallOf(answer.Request.Context()).logScope(answer.Request, nil)
}
