// Answers `greet.sue` with `hello, sue`.
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

func greet(request *nats.Msg) {
	name := strings.TrimPrefix(request.Subject, "greet.")
	request.Respond([]byte("hello, " + name))
}

func main() {
	client, err := nats.Connect(os.Getenv("NATS_URL")) // "" is nats://localhost:4222
	if err != nil {
		log.Fatal(err)
	}
	client.QueueSubscribe("greet.*", "greet", greet)
	if err := client.Flush(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("answers greet.*")
	select {}
}
