// Command peer-grpc-go is grpc-go as a peer: `peer-grpc-go serve PORT [WORKERS]`.
//
// Tuned as its documents say: workers that are kept for streams in place of a goroutine for each, write buffers that idle
// connections share, GOMAXPROCS as many as there are workers. The garbage collector runs at its default.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "corelane/benches/peers/grpc-go/benchpb"
)

const (
	usage           = "usage: peer-grpc-go serve PORT [WORKERS]"
	messageBytesMax = 8 << 20
	payloadBytesMax = 1 << 20
	// Windows that the largest row fits into; setting them turns off the estimator, which starts from 64 KiB.
	windowBytes = 8 << 20
)

var zeros [payloadBytesMax]byte

type service struct {
	pb.UnimplementedBenchServer
}

func reply(size uint32) (*pb.Reply, error) {
	if size > payloadBytesMax {
		return nil, status.Errorf(codes.InvalidArgument, "a payload of %d octets: %d is the most", size, payloadBytesMax)
	}
	return &pb.Reply{Payload: zeros[:size]}, nil
}

func (service) Unary(_ context.Context, order *pb.Request) (*pb.Reply, error) {
	return reply(order.ResponseSize)
}

func (service) Download(order *pb.Request, replies grpc.ServerStreamingServer[pb.Reply]) error {
	answer, err := reply(order.ResponseSize)
	if err != nil {
		return err
	}
	for range order.Messages {
		if err := replies.Send(answer); err != nil {
			return err
		}
	}
	return nil
}

func (service) Upload(orders grpc.ClientStreamingServer[pb.Request, pb.Summary]) error {
	summary := &pb.Summary{}
	for {
		order, err := orders.Recv()
		if errors.Is(err, io.EOF) {
			return orders.SendAndClose(summary)
		}
		if err != nil {
			return err
		}
		summary.Messages++
		summary.Bytes += uint64(len(order.Payload))
	}
}

func (service) Chat(both grpc.BidiStreamingServer[pb.Request, pb.Reply]) error {
	for {
		order, err := both.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		answer, err := reply(order.ResponseSize)
		if err != nil {
			return err
		}
		if err := both.Send(answer); err != nil {
			return err
		}
	}
}

func serve(port string, workers int) error {
	runtime.GOMAXPROCS(workers)
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	server := grpc.NewServer(
		grpc.NumStreamWorkers(uint32(4*workers)),
		grpc.SharedWriteBuffer(true),
		grpc.MaxRecvMsgSize(messageBytesMax),
		grpc.InitialWindowSize(windowBytes),
		grpc.InitialConnWindowSize(windowBytes),
	)
	pb.RegisterBenchServer(server, service{})
	return server.Serve(listener)
}

func main() {
	words, workers := os.Args[1:], 1
	if len(words) == 3 {
		count, err := strconv.Atoi(words[2])
		if err != nil || count < 1 {
			fmt.Fprintln(os.Stderr, usage)
			os.Exit(2)
		}
		workers, words = count, words[:2]
	}
	if len(words) != 2 || words[0] != "serve" {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err := serve(words[1], workers); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
