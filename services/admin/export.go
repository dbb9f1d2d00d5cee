package admin

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// exportSuffix ends the paths of exports: …/events:export.
const exportSuffix = "events:export"

// exportPage is how many events an export holds at a time.
const exportPage = 200

// exporter answers exports: a whole audit log, or what a filter selects of it, as JSON
// lines, the oldest first. It reads page by page, as a client that lists events does,
// and each page passes the same checks. All else it leaves to the gateway.
type exporter struct {
	gate
	client  pb.AdminServiceClient
	gateway http.Handler
}

func newExporter(g gate, conn *grpc.ClientConn, gateway http.Handler) exporter {
	return exporter{g, pb.NewAdminServiceClient(conn), gateway}
}

func (e exporter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	owner, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/v1/"), exportSuffix)
	owner = strings.TrimSuffix(owner, "/")
	if !ok || r.Method != http.MethodGet || owner != "" && (!strings.HasPrefix(owner, "tenants/") || strings.Count(owner, "/") != 1) {
		e.gateway.ServeHTTP(w, r)
		return
	}
	req, err := e.request(r.URL.RawQuery, owner)
	if err != nil {
		writeStatus(w, r, 0, toStatus(r.Context(), e.log, err))
		return
	}
	e.export(w, r, req)
}

// request is that of the first page.
func (e exporter) request(rawQuery, owner string) (*pb.ListEventsRequest, error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.RequestInvalid, "the query cannot be read")
	}
	req := &pb.ListEventsRequest{Parent: owner, PageSize: exportPage, OrderBy: "time"}
	after := ""
	for name, values := range query {
		switch {
		case len(values) != 1:
			return nil, invalid(name, "it is given more than once")
		case name == "filter":
			req.Filter = values[0]
		case name == "after":
			after = values[0]
		default:
			return nil, invalid(name, "an export takes filter and after")
		}
	}
	if after == "" {
		return req, nil
	}
	id, err := parseKey[int64](strings.TrimPrefix(strings.TrimPrefix(after, owner+"/"), "events/"))
	if err != nil {
		return nil, invalid("after", "name the last event that was received, such as %q", strings.TrimPrefix(owner+"/events/4711", "/"))
	}
	bound := search[meta.Event, int64]{list: eventsList}.bound(req)
	req.PageToken = e.service.pages.seal(bound, owner, formatKey(id))
	return req, nil
}

// page lists a page of the log.
func (e exporter) page(r *http.Request, req *pb.ListEventsRequest) (*pb.ListEventsResponse, error) {
	if req.GetParent() != "" {
		return e.client.ListEvents(exportCall(r, "ListEvents"), req)
	}
	return e.client.ListOperatorEvents(exportCall(r, "ListOperatorEvents"), &pb.ListOperatorEventsRequest{
		PageSize: req.GetPageSize(), PageToken: req.GetPageToken(), Filter: req.GetFilter(), OrderBy: req.GetOrderBy(),
	})
}

// exportCall is the context of a call to the gRPC side.
func exportCall(r *http.Request, method string) context.Context {
	web.SetRoute(r.Context(), method)
	web.SetScope(r.Context(), scopeOf(method))
	return metadata.NewOutgoingContext(r.Context(), outgoing(r.Context()))
}

// export sends all pages. What fails after the first byte cuts the answer off: a
// client must not take a part for the whole.
func (e exporter) export(w http.ResponseWriter, r *http.Request, req *pb.ListEventsRequest) {
	lines := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}
	for begun := false; ; begun = true {
		page, err := e.page(r, req)
		if err != nil && !begun {
			writeError(r.Context(), nil, nil, w, r, err)
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if !begun {
			w.Header().Set("Content-Type", "application/jsonl")
		}
		for _, event := range page.GetEvents() {
			line, err := lines.Marshal(event)
			if err == nil {
				_, err = w.Write(append(line, '\n'))
			}
			if err != nil {
				panic(http.ErrAbortHandler)
			}
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return
		}
		_ = http.NewResponseController(w).Flush() // it is sent at the end then
	}
}
