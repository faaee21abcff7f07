// gRPC C++ as a peer: `peer-grpc-cpp serve PORT [WORKERS]`.
//
// Tuned as its documents say: the asynchronous interface, one completion queue for each thread with enough calls waiting on it, one
// thread for each core, the throughput target for the transport.

#include <charconv>
#include <cstring>
#include <iostream>
#include <thread>
#include <vector>

#include <grpc/support/log.h>

#include "calls.h"

namespace {

constexpr const char* kUsage = "usage: peer-grpc-cpp serve PORT [WORKERS]\n";
constexpr int kMessageBytesMax = 8 << 20;
// Calls of each kind that wait for clients on each queue.
constexpr int kWaitingCalls = 256;

bool Number(const char* word, int* number) {
  const char* end = word + std::strlen(word);
  const auto result = std::from_chars(word, end, *number);
  return result.ec == std::errc() && result.ptr == end && *number > 0;
}

void Work(peer::Place place) {
  for (int i = 0; i < kWaitingCalls; ++i) {
    new peer::UnaryCall(place);
    new peer::DownloadCall(place);
    new peer::UploadCall(place);
    new peer::ChatCall(place);
  }
  void* tag = nullptr;
  bool ok = false;
  while (place.queue->Next(&tag, &ok)) {
    static_cast<peer::Call*>(tag)->Proceed(ok);
  }
}

int Serve(int port, int workers) {
  peer::Bench::AsyncService service;
  grpc::ServerBuilder builder;
  int bound = 0;
  builder.AddListeningPort("127.0.0.1:" + std::to_string(port), grpc::InsecureServerCredentials(), &bound);
  builder.RegisterService(&service);
  builder.SetMaxReceiveMessageSize(kMessageBytesMax);
  builder.AddChannelArgument("grpc.optimization_target", "throughput");
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
  for (int i = 0; i < workers; ++i) queues.push_back(builder.AddCompletionQueue());
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (!server || bound == 0) {
    std::cerr << "error: port " << port << " cannot be listened on\n";
    return 1;
  }
  std::vector<std::thread> threads;
  for (auto& queue : queues) threads.emplace_back(Work, peer::Place{&service, queue.get()});
  for (auto& thread : threads) thread.join();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  int port = 0;
  int workers = 1;
  const bool good = (argc == 3 || argc == 4) && std::strcmp(argv[1], "serve") == 0 && Number(argv[2], &port) &&
                    (argc == 3 || Number(argv[3], &workers));
  if (!good) {
    std::cerr << kUsage;
    return 2;
  }
  return Serve(port, workers);
}
