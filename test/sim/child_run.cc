#include "test/sim/child_run.h"

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <type_traits>

#include "common/base/invariant.h"
#include "common/base/str_cat.h"

namespace sluice::sim {
namespace {

static_assert(std::is_trivially_copyable_v<RunNumbers>);

void WriteAll(int fd, const void* data, size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t wrote = write(fd, at, size);
    if (wrote <= 0) _exit(3);  // the parent is gone
    at += wrote;
    size -= static_cast<size_t>(wrote);
  }
}

bool ReadAll(int fd, void* data, size_t size) {
  char* at = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t got = read(fd, at, size);
    if (got <= 0) return false;
    at += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

void WriteResult(int fd, const RunResult& result) {
  const uint64_t size = result.failure.size();
  WriteAll(fd, &result.numbers, sizeof result.numbers);
  WriteAll(fd, &size, sizeof size);
  WriteAll(fd, result.failure.data(), size);
}

// nullopt: the writer died before it had one.
std::optional<RunResult> ReadResult(int fd) {
  RunResult result;
  uint64_t size = 0;
  if (!ReadAll(fd, &result.numbers, sizeof result.numbers) ||
      !ReadAll(fd, &size, sizeof size)) {
    return std::nullopt;
  }
  result.failure.resize(size);
  if (!ReadAll(fd, result.failure.data(), size)) return std::nullopt;
  return result;
}

// From now on this process may take so much of a processor: then it dies of
// SIGXCPU.
void LimitProcessor(int seconds) {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  rlimit limit{};
  getrlimit(RLIMIT_CPU, &limit);
  limit.rlim_cur = std::min<rlim_t>(
      limit.rlim_max, static_cast<rlim_t>(used.tv_sec + 1 + seconds));
  INVARIANT(setrlimit(RLIMIT_CPU, &limit) == 0, "no limit of processor time");
}

// Of a child that died before it had a result.
RunResult Dead(int status, const std::string& said) {
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU) return {kHung, {}};
  const std::string why = WhyItDied(said);
  return {StrCat(kCrashed, why.empty() ? "" : ": ", why), {}};
}

// The child runs `body(fd)` and ends.
template <class Body>
std::pair<int, int> Fork(Body body) {
  int ends[2];
  INVARIANT(pipe(ends) == 0, "no pipe");
  std::fflush(nullptr);
  const int pid = fork();
  INVARIANT(pid >= 0, "no process");
  if (pid == 0) {
    close(ends[0]);
    body(ends[1]);
    std::fflush(nullptr);
    _exit(0);
  }
  close(ends[1]);
  return {pid, ends[0]};
}

}  // namespace

RunResult RunInChild(const SwarmPlan& plan) {
  const DeathNote note;
  const auto [pid, fd] = Fork([&](int out) {
    note.Keep();
    LimitProcessor(kRunProcessorSecondsMax);
    WriteResult(out, FuzzRun(plan, nullptr).Run());
  });
  auto result = ReadResult(fd);
  close(fd);
  int status = 0;
  waitpid(pid, &status, 0);
  const std::string said = note.Take();
  return result.has_value() ? *std::move(result) : Dead(status, said);
}

SeedWorkers::SeedWorkers(std::vector<uint64_t> seeds, int jobs, RunSeed run,
                         int processor_seconds_max)
    : seeds_(std::move(seeds)),
      run_(std::move(run)),
      processor_seconds_max_(processor_seconds_max),
      workers_(static_cast<size_t>(jobs)) {
  for (size_t i = 0; i < workers_.size(); ++i) Launch(workers_[i], i);
}

SeedWorkers::~SeedWorkers() {
  for (Worker& worker : workers_) {
    if (worker.pid != 0) kill(worker.pid, SIGKILL);
    Reap(worker);
  }
}

void SeedWorkers::Launch(Worker& worker, size_t from) {
  worker.next = from;
  if (from >= seeds_.size()) return;
  worker.note = std::make_unique<DeathNote>();
  const auto [pid, fd] = Fork([this, from, &note = *worker.note](int out) {
    note.Keep();
    for (size_t i = from; i < seeds_.size(); i += workers_.size()) {
      LimitProcessor(processor_seconds_max_);
      WriteResult(out, run_(seeds_[i]));
    }
  });
  worker.pid = pid;
  worker.fd = fd;
}

RunResult SeedWorkers::Reap(Worker& worker) {
  int status = 0;
  if (worker.fd >= 0) close(worker.fd);
  if (worker.pid != 0) waitpid(worker.pid, &status, 0);
  worker.fd = -1;
  worker.pid = 0;
  const auto note = std::move(worker.note);
  return Dead(status, note == nullptr ? "" : note->Take());
}

bool SeedWorkers::Take(
    Worker& worker,
    const std::function<bool(uint64_t, const RunResult&)>& on_result) {
  const auto result = ReadResult(worker.fd);
  const uint64_t seed = seeds_[worker.next];
  worker.next += workers_.size();
  if (result.has_value()) {
    const bool more = on_result(seed, *result);
    if (worker.next >= seeds_.size()) Reap(worker);
    return more;
  }
  const bool more = on_result(seed, Reap(worker));
  if (more) Launch(worker, worker.next);
  return more;
}

void SeedWorkers::Run(
    const std::function<bool(uint64_t seed, const RunResult&)>& on_result) {
  while (true) {
    std::vector<pollfd> waiting;
    std::vector<Worker*> of;
    for (Worker& worker : workers_) {
      if (worker.fd < 0) continue;
      waiting.push_back({worker.fd, POLLIN, 0});
      of.push_back(&worker);
    }
    if (waiting.empty()) return;
    if (poll(waiting.data(), waiting.size(), -1) < 0) continue;
    for (size_t i = 0; i < waiting.size(); ++i) {
      if (waiting[i].revents != 0 && !Take(*of[i], on_result)) return;
    }
  }
}

}  // namespace sluice::sim
