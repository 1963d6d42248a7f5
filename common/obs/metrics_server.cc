#include "common/obs/metrics_server.h"

#include <httplib.h>
#include <sys/socket.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "common/base/error.h"

namespace sluice {
namespace {

// httplib's own pool has eight threads and a queue without end.
class BoundedPool final : public httplib::TaskQueue {
 public:
  BoundedPool(size_t threads, size_t waiting_max) : waiting_max_(waiting_max) {
    for (size_t i = 0; i < threads; ++i) {
      threads_.emplace_back([this] { Run(); });
    }
  }
  ~BoundedPool() override { shutdown(); }

  void enqueue(std::function<void()> task) override {
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.size() < waiting_max_) {
        waiting_.push_back(std::move(task));
        wake_.notify_one();
        return;
      }
    }
    // The task is the connection: run it here, where accepting stops
    // meanwhile and the kernel's backlog holds the rest.
    task();
  }

  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      wake_.notify_all();
    }
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      std::function<void()> task = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  const size_t waiting_max_;
  std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by mutex_.
  std::deque<std::function<void()>> waiting_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

void Answer(const HttpPage& page, httplib::Response& response) {
  response.status = page.status;
  response.set_content(page.body, page.content_type);
}

}  // namespace

struct MetricsServer::Http {
  httplib::Server server;
  std::thread thread;
};

MetricsServer::MetricsServer(std::unique_ptr<Http> http)
    : http_(std::move(http)) {}

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(
    const api::Endpoint& listen, const MetricsPages* pages) {
  auto http = std::make_unique<Http>();
  httplib::Server& server = http->server;
  server.new_task_queue = [] { return new BoundedPool(kWorkers, kWaitingMax); };
  // Not httplib's SO_REUSEPORT, by which two processes would share a port.
  server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  // A connection that is kept open holds a worker.
  server.set_keep_alive_max_count(1);
  server.set_read_timeout(2);
  server.set_write_timeout(5);
  server.set_payload_max_length(4096);
  server.Get("/metrics", [pages](const httplib::Request&,
                                 httplib::Response& response) {
    Answer(pages->Metrics(), response);
  });
  server.Get("/healthz", [pages](const httplib::Request&,
                                 httplib::Response& response) {
    Answer(pages->Health(), response);
  });
  errno = 0;
  if (!server.bind_to_port(listen.host, listen.port)) {
    return MakeError(ErrorCode::kInvalidConfig, "--metrics_listen=",
                     listen.ToString(), ": cannot listen there: ",
                     errno == 0 ? "no such address" : std::strerror(errno),
                     "; choose a free port of this host");
  }
  http->thread = std::thread([&server] { server.listen_after_bind(); });
  // stop() before the loop runs would be forgotten.
  while (!server.is_running()) std::this_thread::yield();
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(http)));
}

MetricsServer::~MetricsServer() {
  http_->server.stop();
  http_->thread.join();
}

}  // namespace sluice
