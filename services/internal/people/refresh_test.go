package people

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// What a provider says while an administrator disables it, or while tokens are revoked, was said
// before that.
func TestV110_WhatIsSaidMeanwhileDoesNotCount(t *testing.T) {
	disable := func(w *world) {
		p := w.provider
		p.Disabled = true
		_, err := w.UpdateIdentityProvider(w.t.Context(), by(), p)
		w.must(err)
		w.people.directories.Clear()
	}
	revoke := func(w *world) {
		w.corp.put("max")
		w.must(w.RevokeTokens(w.t.Context(), by(), w.tenant, access.UserKind, "max"))
	}
	round := func(w *world) {
		_, err := w.refresher.Round(w.t.Context())
		w.must(err)
	}
	for name, c := range map[string]struct{ meanwhile, read func(w *world) }{
		"disabled during a login":   {disable, func(w *world) { w.refused("max", "password of max") }},
		"disabled during a reading": {disable, round},
		"revoked during a reading":  {revoke, round},
	} {
		w := newWorld(t)
		w.corp.put("max", "dev")
		w.enters("max", "max")
		w.now = w.now.Add(5 * time.Minute)
		var once sync.Once
		w.corp.onAnswer(func() { once.Do(func() { c.meanwhile(w) }) })
		c.read(w)
		for _, d := range []time.Duration{0, time.Minute, 3 * time.Minute} {
			if w.now = w.now.Add(d); w.inDev("max") {
				t.Errorf("%s: in dev %s later", name, d)
			}
			w.pass(0)
		}
	}
}

func TestV110_ALoginWhoseProviderIsDeletedMeanwhileMakesNoAccount(t *testing.T) {
	w := newWorld(t)
	w.must(w.DeletePrincipalGroup(t.Context(), by(), w.tenant, "dev", 0))
	w.corp.put("max")
	w.corp.put("eve")
	w.enters("eve", "eve")
	w.corp.onAnswer(func() { w.must(w.DeleteIdentityProvider(t.Context(), by(), w.tenant, "corp", 0)) })
	w.refused("max", "password of max")
	if p, err := w.FindPerson(t.Context(), w.tenant, "max"); !fault.Is(err, fault.ResourceUnknown) {
		t.Errorf("%+v, %v", p, err)
	}
	w.pass(0)
	if p, err := w.FindPerson(t.Context(), w.tenant, "eve"); err != nil || !p.Disabled {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestV110_WhatIsSaidMeanwhileMakesNothing(t *testing.T) {
	w := newMapped(t, perTeam)
	w.corp.put("max")
	w.enters("max", "max")
	w.corp.put("max", "berth-web-dev")
	w.now = w.now.Add(5 * time.Minute)
	w.corp.onAnswer(func() {
		p := w.provider
		p.Disabled, p.Version = true, 0
		_, err := w.UpdateIdentityProvider(t.Context(), by(), p)
		w.must(err)
	})
	_, err := w.refresher.Round(t.Context())
	w.must(err)
	if r, err := w.FindRegistry(t.Context(), w.tenant, "web"); !fault.Is(err, fault.ResourceUnknown) {
		t.Errorf("%+v, %v", r, err)
	}
}

// secondTenant has a provider of its own, with vic.
func (w *world) secondTenant() (tenant.ID, *directory) {
	w.t.Helper()
	made, err := w.CreateTenant(w.t.Context(), by(), meta.Tenant{Slug: "second"}, tenant.Settings{})
	w.must(err)
	_, d := w.addProvider(made.ID, "seconds")
	d.put("vic")
	_, err = w.people.Authenticate(w.t.Context(), login.Attempt{Tenant: made.ID, Name: "vic", Secret: "password of vic"})
	w.must(err)
	return made.ID, d
}

func TestV111_AProviderThatHangsHoldsUpNoOthers(t *testing.T) {
	w := newWorld(t)
	for i := range 20 {
		name := fmt.Sprint("a", i)
		w.corp.put(name)
		w.enters(name, name)
	}
	_, d := w.secondTenant()
	w.now = w.now.Add(5 * time.Minute)
	ended := make(chan struct{})
	w.corp.onAnswer(func() { <-ended }) // no answer until the other directory was asked
	d.onAnswer(func() { close(ended) })
	_, err := w.refresher.Round(t.Context())
	w.must(err)
}

func TestV111_ASlowProviderIsLeftForALaterRound(t *testing.T) {
	w := newWorld(t)
	for i := range 2 * perBatch {
		name := fmt.Sprint("a", i)
		w.corp.put(name)
		w.enters(name, name)
	}
	other, d := w.secondTenant()
	d.remove("vic")
	w.now = w.now.Add(5 * time.Minute)
	var mu sync.Mutex
	answers := 0
	w.corp.onAnswer(func() {
		mu.Lock()
		defer mu.Unlock()
		answers++
	})
	began := w.now
	w.refresher.now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return began.Add(time.Duration(answers) * time.Second)
	}
	for range 2 {
		_, err := w.refresher.Round(t.Context())
		w.must(err)
	}
	if p, err := w.FindPerson(t.Context(), other, "vic"); err != nil || !p.Disabled || answers > 20 {
		t.Errorf("%+v, %v after %d answers of the slow provider", p, err, answers)
	}
}
