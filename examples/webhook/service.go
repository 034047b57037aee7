// Stores events in a stream of JetStream, each of them once, and answers when an event is stored.
//
//	$ go run service.go        # NATS_URL says where NATS is
package main

import (
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
)

func main() {
	client, err := nats.Connect(os.Getenv("NATS_URL")) // "" is nats://localhost:4222
	if err != nil {
		log.Fatal(err)
	}
	jetstream, err := client.JetStream()
	if err != nil {
		log.Fatal(err)
	}
	if _, err := jetstream.AddStream(&nats.StreamConfig{Name: "EVENTS", Subjects: []string{"events.*"}}); err != nil {
		log.Fatal(err)
	}
	client.QueueSubscribe("hooks.*", "hooks", func(request *nats.Msg) { take(jetstream, request) })
	if err := client.Flush(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("answers hooks.*")
	select {}
}

func take(jetstream nats.JetStreamContext, request *nats.Msg) {
	event := nats.NewMsg("events." + strings.TrimPrefix(request.Subject, "hooks."))
	event.Data = request.Data
	stored, err := jetstream.PublishMsg(event, nats.MsgId(request.Header.Get("X-Delivery")))
	reply := nats.NewMsg(request.Reply)
	if err != nil {
		reply.Header.Set("Nats-Service-Error-Code", "503")
		reply.Header.Set("Nats-Service-Error", "the event is not stored: send it again")
	} else {
		reply.Data = []byte(fmt.Sprintf(`{"sequence": %d}`, stored.Sequence))
		if stored.Duplicate {
			reply.Header.Set("Http-Status", "200")
		}
	}
	request.RespondMsg(reply)
}
