package webhooks

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
)

// Content types of the formats.
const (
	cloudEventsType  = "application/cloudevents+json; charset=utf-8"
	distributionType = "application/vnd.docker.distribution.events.v1+json"
)

// typePrefix begins the types of CloudEvents.
const typePrefix = "io.github.berth-registry."

// Render is the body that a webhook sends of an event; false: its format cannot say it.
func Render(w *meta.Webhook, e *meta.HookedEvent) (string, string, bool) {
	var contentType string
	var body any
	switch w.Format {
	case meta.CloudEvents:
		contentType, body = cloudEventsType, cloudEventOf(e)
	case meta.DistributionNotifications:
		events := notificationsOf(e)
		if len(events) == 0 {
			return "", "", false
		}
		contentType, body = distributionType, envelope{events}
	default:
		return "", "", false // of a later version
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		return "", "", false // text and numbers alone: it cannot fail
	}
	return contentType, string(encoded), true
}

// cloudEvent is a CloudEvent 1.0 in structured JSON.
type cloudEvent struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject,omitempty"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	Data            data      `json:"data"`
}

// data is what the event says, by the names that the admin API has.
type data struct {
	Name       string   `json:"name"` // in the admin API
	Tenant     string   `json:"tenant"`
	Actor      string   `json:"actor"`
	OnBehalf   string   `json:"on_behalf,omitempty"`
	Verb       string   `json:"verb"`
	Target     string   `json:"target"`
	Registry   string   `json:"registry,omitempty"`
	Repository string   `json:"repository,omitempty"`
	Digest     string   `json:"digest,omitempty"`
	MediaType  string   `json:"media_type,omitempty"`
	Size       int64    `json:"size,omitempty"`
	Tags       []tag    `json:"tags,omitempty"`
	Changes    []change `json:"changes,omitempty"`
	RequestID  string   `json:"request_id,omitempty"`
	Times      int64    `json:"times"`
}

// tag is a tag that the event names. A higher version is a later state of the tag; one that
// the event did not move has none.
type tag struct {
	Name    string `json:"name"`
	Version int64  `json:"version,omitempty,string"`
}

type change struct {
	Field string `json:"field"`
	Old   string `json:"old_value"`
	New   string `json:"new_value"`
}

func cloudEventOf(e *meta.HookedEvent) cloudEvent {
	d := data{
		Name:   "tenants/" + e.TenantSlug + "/events/" + strconv.FormatInt(e.ID, 10),
		Tenant: e.TenantSlug, Actor: e.Actor, OnBehalf: e.OnBehalf, Verb: e.Verb, Target: e.Target,
		Registry: e.Registry, Repository: e.Repository, Digest: e.Digest.String(), MediaType: e.MediaType, Size: e.Size,
		RequestID: e.RequestID, Times: e.Times,
	}
	for _, t := range e.Tags {
		d.Tags = append(d.Tags, tag(t))
	}
	changes, err := meta.DecodeChanges(e.Changes)
	if err != nil {
		changes = nil // the event itself is sent
	}
	for _, c := range changes {
		d.Changes = append(d.Changes, change(c))
	}
	return cloudEvent{
		SpecVersion: "1.0", ID: e.Op.String(), Source: "/v1/tenants/" + e.TenantSlug, Type: typePrefix + e.Verb, Subject: e.Target,
		Time: e.At, DataContentType: "application/json", Data: d,
	}
}

// envelope is the body of a notification of CNCF distribution.
type envelope struct {
	Events []notification `json:"events"`
}

type notification struct {
	ID        string    `json:"id"`
	Timestamp time.Time `json:"timestamp"`
	Action    string    `json:"action"`
	Target    struct {
		MediaType  string `json:"mediaType,omitempty"`
		Digest     string `json:"digest,omitempty"`
		Size       int64  `json:"size,omitempty"`
		Length     int64  `json:"length,omitempty"`
		Repository string `json:"repository"`
		Tag        string `json:"tag,omitempty"`
	} `json:"target"`
	Request struct {
		ID string `json:"id,omitempty"`
	} `json:"request"`
	Actor struct {
		Name string `json:"name,omitempty"`
	} `json:"actor"`
	Source struct {
		Addr string `json:"addr"`
	} `json:"source"`
}

// actions are what the envelope calls what happened; it has no words for anything else.
var actions = map[string]string{
	"manifest.put": "push", "manifest.promote": "push", "manifest.undelete": "push", "tag.undelete": "push", "blob.push": "push", "blob.mount": "mount",
	"manifest.delete": "delete", "manifest.purge": "delete", "tag.delete": "delete", "blob.delete": "delete", "repository.delete": "delete",
}

// notificationsOf is one for each tag that the event names, or one without any.
func notificationsOf(e *meta.HookedEvent) []notification {
	action, known := actions[e.Verb]
	if !known || e.Repository == "" {
		return nil
	}
	tags := []string{""}
	if len(e.Tags) > 0 && e.Verb != "manifest.delete" && e.Verb != "manifest.purge" {
		tags = tags[:0]
		for _, t := range e.Tags {
			tags = append(tags, t.Name)
		}
	}
	var all []notification
	for i, t := range tags {
		n := notification{ID: e.Op.String(), Timestamp: e.At, Action: action}
		if i > 0 {
			n.ID = fmt.Sprintf("%s-%d", n.ID, i)
		}
		n.Target.MediaType, n.Target.Digest, n.Target.Size, n.Target.Length = e.MediaType, e.Digest.String(), e.Size, e.Size
		n.Target.Repository, n.Target.Tag = e.Repository, t
		n.Request.ID, n.Actor.Name = e.RequestID, e.Actor
		n.Source.Addr = "tenants/" + e.TenantSlug + "/registries/" + e.Registry
		all = append(all, n)
	}
	return all
}
