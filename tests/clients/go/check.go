package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	svix "github.com/svix/svix-webhooks/go"
)

const patience = 60 * time.Second

func step(name string) { fmt.Println("-", name) }

func ok(is bool, otherwise string) {
	if !is {
		panic(otherwise)
	}
}

func same(got, wanted any) {
	if !reflect.DeepEqual(got, wanted) {
		panic(fmt.Sprintf("got %#v instead of %#v", got, wanted))
	}
}

func must[T any](value T, err error) T {
	succeed(err)
	return value
}

func succeed(err error) {
	if err == nil {
		return
	}
	var answered *svix.Error
	if errors.As(err, &answered) {
		panic(fmt.Sprintf("%v: %s", err, answered.Body()))
	}
	panic(err)
}

// Asks until there is an answer: what is delivered is logged a little later.
func eventually(what string, ask func() bool) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if ask() {
			return
		}
	}
	panic("waited in vain for " + what)
}

func failed(err error) (int, []byte) {
	var answered *svix.Error
	if !errors.As(err, &answered) {
		panic(fmt.Sprintf("expected an error of the API, got %v", err))
	}
	return answered.Status(), answered.Body()
}

// The call must have failed with this status and code, as an error of the package's own type.
func refused(status int, code string, err error) {
	got, body := failed(err)
	var shown struct{ Code, Detail string }
	succeed(json.Unmarshal(body, &shown))
	same([]any{got, shown.Code}, []any{status, code})
	ok(shown.Detail != "", "an error without detail")
}

func invalid(field string, err error) {
	status, body := failed(err)
	var shown struct {
		Detail []struct {
			Loc       []string
			Msg, Type string
		}
	}
	succeed(json.Unmarshal(body, &shown))
	first := shown.Detail[0]
	same([]any{status, first.Loc[len(first.Loc)-1]}, []any{422, field})
	ok(first.Msg != "" && first.Type != "", "an error that says nothing")
}

func ptr[T any](value T) *T { return &value }
