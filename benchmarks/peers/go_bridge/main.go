// The same bridge in Go: net/http and nats.go, as one writes it first, without any of the gateway's guards.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const timeout = 2 * time.Second

type greeting struct {
	Message string `json:"message"`
}

type order struct {
	Item   string `json:"item"`
	Amount int    `json:"amount"`
}

func main() {
	nc, err := nats.Connect(os.Getenv("NATS_URL"), nats.MaxReconnects(-1))
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/greet/", func(w http.ResponseWriter, r *http.Request) {
		reply := request(w, nc, nats.NewMsg("greet."+strings.TrimPrefix(r.URL.Path, "/greet/")))
		if reply != nil {
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(greeting{string(reply.Data)})
		}
	})
	mux.HandleFunc("/traced/", func(w http.ResponseWriter, r *http.Request) {
		msg := nats.NewMsg("greet." + strings.TrimPrefix(r.URL.Path, "/traced/"))
		for _, name := range []string{"Traceparent", "Tracestate", "X-Request-Id"} {
			if value := r.Header.Get(name); value != "" {
				msg.Header.Set(name, value)
			}
		}
		pass(w, request(w, nc, msg))
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		if msg := read(w, r, "echo"); msg != nil {
			pass(w, request(w, nc, msg))
		}
	})
	mux.HandleFunc("/blob/", func(w http.ResponseWriter, r *http.Request) {
		pass(w, request(w, nc, nats.NewMsg("blob."+strings.TrimPrefix(r.URL.Path, "/blob/"))))
	})
	mux.HandleFunc("/orders", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		var found order
		if err != nil || json.Unmarshal(body, &found) != nil || found.Item == "" || found.Amount < 1 {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		msg := nats.NewMsg("echo")
		msg.Data = body
		pass(w, request(w, nc, msg))
	})
	mux.HandleFunc("/published", func(w http.ResponseWriter, r *http.Request) {
		if msg := read(w, r, "published.order"); msg != nil {
			nc.PublishMsg(msg) // into a buffer: nobody knows whether the server gets it
			w.WriteHeader(http.StatusAccepted)
		}
	})
	mux.HandleFunc("/stored", func(w http.ResponseWriter, r *http.Request) {
		if msg := read(w, r, "stored.order"); msg != nil {
			pass(w, request(w, nc, msg))
		}
	})
	mux.HandleFunc("/many/", func(w http.ResponseWriter, r *http.Request) {
		inbox := nc.NewRespInbox()
		replies, err := nc.SubscribeSync(inbox)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer replies.Unsubscribe()
		nc.PublishRequest("many."+strings.TrimPrefix(r.URL.Path, "/many/"), inbox, nil)
		texts := []string{}
		for len(texts) < 10 {
			reply, err := replies.NextMsg(timeout)
			if err != nil {
				break
			}
			texts = append(texts, string(reply.Data))
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(texts)
	})
	mux.HandleFunc("/nobody/", func(w http.ResponseWriter, r *http.Request) {
		pass(w, request(w, nc, nats.NewMsg("nobody."+strings.TrimPrefix(r.URL.Path, "/nobody/"))))
	})
	mux.HandleFunc("/slow/", func(w http.ResponseWriter, r *http.Request) {
		pass(w, request(w, nc, nats.NewMsg("slow."+strings.TrimPrefix(r.URL.Path, "/slow/"))))
	})
	extra, _ := strconv.Atoi(os.Getenv("EXTRA_ROUTES"))
	for number := 0; number < extra; number++ {
		prefix := fmt.Sprintf("/extra%d/greet/", number)
		mux.HandleFunc(prefix, func(w http.ResponseWriter, r *http.Request) {
			pass(w, request(w, nc, nats.NewMsg("greet."+strings.TrimPrefix(r.URL.Path, prefix))))
		})
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), mux))
}

func read(w http.ResponseWriter, r *http.Request, subject string) *nats.Msg {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return nil
	}
	msg := nats.NewMsg(subject)
	msg.Data = body
	return msg
}

func request(w http.ResponseWriter, nc *nats.Conn, msg *nats.Msg) *nats.Msg {
	reply, err := nc.RequestMsg(msg, timeout)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		w.WriteHeader(http.StatusServiceUnavailable)
	case errors.Is(err, nats.ErrTimeout):
		w.WriteHeader(http.StatusGatewayTimeout)
	case err != nil:
		w.WriteHeader(http.StatusBadGateway)
	}
	return reply
}

func pass(w http.ResponseWriter, reply *nats.Msg) {
	if reply != nil {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Write(reply.Data)
	}
}
