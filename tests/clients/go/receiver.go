package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"
)

type request struct {
	headers http.Header
	body    []byte
}

// A subscriber on a loopback port of its own: it keeps what arrives until it is asked for, and answers with `status`.
type receiver struct {
	*httptest.Server
	status   atomic.Int32
	requests chan request
}

func startReceiver() *receiver {
	r := &receiver{requests: make(chan request, 1000)}
	r.status.Store(http.StatusOK)
	r.Server = httptest.NewServer(http.HandlerFunc(r.receive))
	return r
}

func (r *receiver) receive(w http.ResponseWriter, incoming *http.Request) {
	body, err := io.ReadAll(incoming.Body)
	if err != nil {
		return
	}
	r.requests <- request{incoming.Header, body}
	w.WriteHeader(int(r.status.Load()))
	_, _ = w.Write([]byte("received"))
}

func (r *receiver) next() request {
	select {
	case received := <-r.requests:
		return received
	case <-time.After(patience):
		panic("waited in vain for a delivery")
	}
}

func (r *receiver) forget() {
	for len(r.requests) > 0 {
		<-r.requests
	}
}
