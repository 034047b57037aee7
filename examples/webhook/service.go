// Makes a stream for events, and shows the latest event of a source.
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
	client.QueueSubscribe("latest.*", "events", func(request *nats.Msg) { show(jetstream, request) })
	if err := client.Flush(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("answers latest.*")
	select {}
}

func show(jetstream nats.JetStreamContext, request *nats.Msg) {
	source := strings.TrimPrefix(request.Subject, "latest.")
	event, err := jetstream.GetLastMsg("EVENTS", "events."+source)
	reply := nats.NewMsg(request.Reply)
	if err != nil {
		reply.Header.Set("Nats-Service-Error-Code", "404")
		reply.Header.Set("Nats-Service-Error", "there is no event of "+source)
	} else {
		reply.Data = event.Data
	}
	request.RespondMsg(reply)
}
