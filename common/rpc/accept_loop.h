// Who takes a listener's connections in. gRPC 1.51 has an accept loop of its
// own that ends for good with the first accept that finds no descriptor, and no
// limit of connections that would keep that from happening.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/api/log_api.h"

namespace sluice::rpc {

// Listens from Listen on, accepts from Start to Stop on a thread of its own.
//
// Descriptors are numbered from the lowest free one on, so the number of a new
// connection says how many are taken: one that would use up what is kept back
// for files is closed at once. Where none is left at all, the connection stays
// in the kernel's queue and is tried again.
class AcceptLoop {
 public:
  struct Options {
    std::string name;  // in the log
    api::Endpoint bind;  // port 0 takes a free one
    // One part in so many of RLIMIT_NOFILE is not for connections.
    int kept_back_part = 8;
  };
  // Owns the connection: non-blocking, without Nagle's delay.
  using Take = std::function<void(int listener, int connection)>;

  // INVALID_CONFIG names the address, and why nobody can listen there.
  static absl::StatusOr<std::unique_ptr<AcceptLoop>> Listen(Options options);
  ~AcceptLoop();
  AcceptLoop(const AcceptLoop&) = delete;
  AcceptLoop& operator=(const AcceptLoop&) = delete;

  int port() const { return port_; }

  // Once.
  void Start(Take take);
  // No connection is taken any more, on return; what is in the kernel's queue
  // is reset. Idempotent. Not on the loop's own thread.
  void Stop();

  // Closed at once, for the sake of what is kept back.
  int64_t refused() const { return refused_.load(); }
  // Times that accept found no descriptor (or memory) for a connection.
  int64_t starved() const { return starved_.load(); }

 private:
  explicit AcceptLoop(Options options);

  absl::Status Bind();
  void Run();
  void AcceptFrom(int listener);
  void Serve(int listener, int connection);
  void NoteRefused(int64_t limit);
  // Whether it is to stop.
  bool WaitForStop(int timeout_ms) const;

  const Options options_;
  std::vector<int> listeners_;
  int stop_event_ = -1;
  int port_ = 0;
  Take take_;
  std::atomic<int64_t> refused_{0};
  std::atomic<int64_t> starved_{0};
  // On the loop's thread.
  int64_t refused_told_ = 0;
  int64_t told_us_ = 0;
  std::thread thread_;
};

}  // namespace sluice::rpc
