// The four kinds of call as state machines on a completion queue.
//
// A call waits for a client, and when one comes puts another of its kind in its place before it answers. Each is an event's tag;
// it has one operation under way at a time, and deletes itself when the last one is over.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "bench/v1/bench.grpc.pb.h"

namespace peer {

using bench::v1::Bench;
using bench::v1::Reply;
using bench::v1::Request;
using bench::v1::Summary;

constexpr std::uint32_t kPayloadBytesMax = 1 << 20;

struct Place {
  Bench::AsyncService* service;
  grpc::ServerCompletionQueue* queue;
};

class Call {
 public:
  virtual ~Call() = default;
  // The operation under way is over; `ok` as the completion queue means it.
  virtual void Proceed(bool ok) = 0;

 protected:
  void* Tag() { return static_cast<Call*>(this); }
};

inline grpc::Status Fill(const Request& order, Reply* reply) {
  if (order.response_size() > kPayloadBytesMax) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "the payload is larger than 1 MiB"};
  }
  reply->mutable_payload()->resize(order.response_size());
  return grpc::Status::OK;
}

class UnaryCall final : public Call {
 public:
  explicit UnaryCall(Place place) : place_(place), responder_(&context_) {
    place_.service->RequestUnary(&context_, &order_, &responder_, place_.queue, place_.queue, Tag());
  }

  void Proceed(bool ok) override {
    if (finishing_ || !ok) {
      delete this;
      return;
    }
    new UnaryCall(place_);
    finishing_ = true;
    const grpc::Status status = Fill(order_, &reply_);
    responder_.Finish(reply_, status, Tag());
  }

 private:
  Place place_;
  grpc::ServerContext context_;
  Request order_;
  Reply reply_;
  grpc::ServerAsyncResponseWriter<Reply> responder_;
  bool finishing_ = false;
};

class DownloadCall final : public Call {
 public:
  explicit DownloadCall(Place place) : place_(place), writer_(&context_) {
    place_.service->RequestDownload(&context_, &order_, &writer_, place_.queue, place_.queue, Tag());
  }

  void Proceed(bool ok) override {
    if (!started_ && ok) {
      new DownloadCall(place_);
      started_ = true;
      status_ = Fill(order_, &reply_);
    } else if (finishing_ || !started_) {
      delete this;
      return;
    }
    if (!ok || !status_.ok() || sent_ == order_.messages()) {
      finishing_ = true;
      writer_.Finish(status_, Tag());
      return;
    }
    ++sent_;
    writer_.Write(reply_, Tag());
  }

 private:
  Place place_;
  grpc::ServerContext context_;
  Request order_;
  Reply reply_;
  grpc::ServerAsyncWriter<Reply> writer_;
  grpc::Status status_;
  std::uint32_t sent_ = 0;
  bool started_ = false;
  bool finishing_ = false;
};

class UploadCall final : public Call {
 public:
  explicit UploadCall(Place place) : place_(place), reader_(&context_) {
    place_.service->RequestUpload(&context_, &reader_, place_.queue, place_.queue, Tag());
  }

  void Proceed(bool ok) override {
    switch (state_) {
      case State::kWaiting:
        if (!ok) break;
        new UploadCall(place_);
        state_ = State::kReading;
        reader_.Read(&order_, Tag());
        return;
      case State::kReading:
        if (ok) {
          summary_.set_messages(summary_.messages() + 1);
          summary_.set_bytes(summary_.bytes() + order_.payload().size());
          reader_.Read(&order_, Tag());
        } else {
          state_ = State::kFinishing;
          reader_.Finish(summary_, grpc::Status::OK, Tag());
        }
        return;
      case State::kFinishing:
        break;
    }
    delete this;
  }

 private:
  enum class State { kWaiting, kReading, kFinishing };

  Place place_;
  grpc::ServerContext context_;
  Request order_;
  Summary summary_;
  grpc::ServerAsyncReader<Summary, Request> reader_;
  State state_ = State::kWaiting;
};

class ChatCall final : public Call {
 public:
  explicit ChatCall(Place place) : place_(place), stream_(&context_) {
    place_.service->RequestChat(&context_, &stream_, place_.queue, place_.queue, Tag());
  }

  void Proceed(bool ok) override {
    switch (state_) {
      case State::kWaiting:
        if (!ok) break;
        new ChatCall(place_);
        Read();
        return;
      case State::kReading:
        if (ok) {
          const grpc::Status status = Fill(order_, &reply_);
          if (!status.ok()) {
            Finish(status);
            return;
          }
          state_ = State::kWriting;
          stream_.Write(reply_, Tag());
        } else {
          Finish(grpc::Status::OK);
        }
        return;
      case State::kWriting:
        if (ok) {
          Read();
        } else {
          Finish(grpc::Status::CANCELLED);
        }
        return;
      case State::kFinishing:
        break;
    }
    delete this;
  }

 private:
  enum class State { kWaiting, kReading, kWriting, kFinishing };

  void Read() {
    state_ = State::kReading;
    stream_.Read(&order_, Tag());
  }

  void Finish(const grpc::Status& status) {
    state_ = State::kFinishing;
    stream_.Finish(status, Tag());
  }

  Place place_;
  grpc::ServerContext context_;
  Request order_;
  Reply reply_;
  grpc::ServerAsyncReaderWriter<Reply, Request> stream_;
  State state_ = State::kWaiting;
};

}  // namespace peer
