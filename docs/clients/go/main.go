// Sets and reads a presence until Enter is pressed: client ADDRESS,ADDRESS
package main

import (
	"bufio"
	"context"
	_ "embed"
	"fmt"
	"os"
	"strings"
	"time"

	presencev1 "example.com/presence-client/presence/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // Without this import there is no health checking.
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

//go:embed service-config.json
var serviceConfig string

// connect makes a channel to all replicas. With DNS, the resolver is not needed: the target is
// "dns:///presence.example.com:50051". For TLS, use credentials.NewTLS(nil).
func connect(addresses []string) (*grpc.ClientConn, error) {
	replicas := manual.NewBuilderWithScheme("replicas")
	state := resolver.State{}
	for _, address := range addresses {
		endpoint := resolver.Endpoint{Addresses: []resolver.Address{{Addr: address}}}
		state.Endpoints = append(state.Endpoints, endpoint)
	}
	replicas.InitialState(state)
	return grpc.NewClient("replicas:///presence",
		grpc.WithResolvers(replicas),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 5 * time.Second}),
	)
}

// call sets and reads a presence.
func call(client presencev1.PresenceServiceClient) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := client.SetPresence(ctx, &presencev1.SetPresenceRequest{
		UserId:       "ada",
		SessionId:    "desk:call-1",
		Availability: presencev1.Availability_AVAILABILITY_BUSY,
		Activity:     presencev1.Activity_ACTIVITY_IN_A_CALL,
	})
	if err == nil {
		_, err = client.GetPresence(ctx, &presencev1.GetPresenceRequest{UserId: "ada"})
	}
	return err
}

func main() {
	channel, err := connect(strings.Split(os.Args[1], ","))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer channel.Close()
	client := presencev1.NewPresenceServiceClient(channel)

	ended := make(chan struct{})
	go func() {
		bufio.NewReader(os.Stdin).ReadString('\n')
		close(ended)
	}()
	calls, failed := 0, 0
	for {
		if err := call(client); err != nil {
			failed++
			fmt.Println("-- failed:", err)
		}
		if calls++; calls%100 == 0 {
			fmt.Println("-- calls:", calls)
		}
		select {
		case <-ended:
			fmt.Println("-- ended:", calls, "calls,", failed, "failed")
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}
