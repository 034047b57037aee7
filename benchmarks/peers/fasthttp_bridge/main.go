// The least that does the job of `greet`, `echo` and `nobody` with fasthttp and nats.go, without any of the gateway's
// guards.
package main

import (
	"encoding/json"
	"errors"
	"log"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/valyala/fasthttp"
)

const timeout = 2 * time.Second

type greeting struct {
	Message string `json:"message"`
}

func main() {
	nc, err := nats.Connect(os.Getenv("NATS_URL"), nats.MaxReconnects(-1))
	if err != nil {
		log.Fatal(err)
	}
	handle := func(ctx *fasthttp.RequestCtx) {
		path := string(ctx.Path())
		switch {
		case strings.HasPrefix(path, "/greet/"):
			if reply := request(ctx, nc, "greet."+path[len("/greet/"):], nil); reply != nil {
				ctx.SetContentType("application/json")
				json.NewEncoder(ctx).Encode(greeting{string(reply.Data)})
			}
		case path == "/echo":
			pass(ctx, request(ctx, nc, "echo", ctx.PostBody()))
		case strings.HasPrefix(path, "/nobody/"):
			pass(ctx, request(ctx, nc, "nobody."+path[len("/nobody/"):], nil))
		default:
			ctx.SetStatusCode(fasthttp.StatusNotFound)
		}
	}
	server := &fasthttp.Server{Handler: handle, MaxRequestBodySize: 1 << 20}
	log.Fatal(server.ListenAndServe("127.0.0.1:" + os.Getenv("PORT")))
}

func request(ctx *fasthttp.RequestCtx, nc *nats.Conn, subject string, payload []byte) *nats.Msg {
	reply, err := nc.Request(subject, payload, timeout)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
	case errors.Is(err, nats.ErrTimeout):
		ctx.SetStatusCode(fasthttp.StatusGatewayTimeout)
	case err != nil:
		ctx.SetStatusCode(fasthttp.StatusBadGateway)
	}
	return reply
}

func pass(ctx *fasthttp.RequestCtx, reply *nats.Msg) {
	if reply != nil {
		ctx.SetContentType("application/octet-stream")
		ctx.Write(reply.Data)
	}
}
