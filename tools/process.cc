#include "tools/process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

#include "common/base/error.h"

extern char** environ;

namespace sluice::cli {
namespace {

constexpr int64_t kPollUs = 20'000;
constexpr int64_t kArgumentsPollUs = 200;
constexpr int kArgumentsTries = 5000;
constexpr int kHttpPatienceS = 2;

// The fields of /proc/PID/stat after the name, which may hold anything.
std::vector<std::string> StatFields(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  const size_t name_end = text.rfind(')');
  std::vector<std::string> fields;
  if (name_end == std::string::npos) return fields;
  std::istringstream rest(text.substr(name_end + 1));
  for (std::string field; rest >> field;) fields.push_back(field);
  return fields;
}

std::string CommandLineOf(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline");
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

}  // namespace

absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& argv,
                            const std::string& log_path) {
  std::vector<char*> arguments;
  for (const std::string& argument : argv) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY,
                                   0);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, log_path.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  sigset_t all;
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID |
                                            POSIX_SPAWN_SETSIGMASK |
                                            POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, argv[0].c_str(), &files, &attributes,
                                arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (error != 0) {
    return MakeError(ErrorCode::kInvalidRequest, "cannot start ", argv[0],
                     ": ", std::string(std::strerror(error)));
  }
  // The kernel lets the parent go on a moment before the new arguments show,
  // by which IsAliveWith knows the process.
  for (int tries = 0; tries < kArgumentsTries && IsAlive(pid) &&
                      CommandLineOf(pid).empty();
       ++tries) {
    usleep(kArgumentsPollUs);
  }
  return pid;
}

bool IsAlive(pid_t pid) {
  if (pid <= 0 || kill(pid, 0) != 0) return false;
  const auto fields = StatFields(pid);
  if (fields.size() < 18 || fields[0] == "X") return false;
  // Its first thread has ended, others may not have: they hold its files, its
  // ports and its locks. num_threads is field 20 of the whole line.
  return fields[0] != "Z" || std::stoi(fields[17]) > 1;
}

bool IsAliveWith(pid_t pid, const std::string& argument) {
  if (!IsAlive(pid)) return false;
  return CommandLineOf(pid).find(argument) != std::string::npos;
}

bool WaitGone(pid_t pid, int64_t timeout_us) {
  for (int64_t waited_us = 0;; waited_us += kPollUs) {
    waitpid(pid, nullptr, WNOHANG);  // ours or not
    if (!IsAlive(pid)) return true;
    if (waited_us >= timeout_us) return false;
    usleep(kPollUs);
  }
}

std::optional<ProcessUsage> UsageOf(pid_t pid) {
  const auto fields = StatFields(pid);
  if (fields.size() < 13) return std::nullopt;
  ProcessUsage usage;
  // utime and stime are fields 14 and 15 of the whole line.
  usage.cpu_seconds = (std::stod(fields[11]) + std::stod(fields[12])) /
                      static_cast<double>(sysconf(_SC_CLK_TCK));
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) {
      usage.rss_peak_bytes = std::stoll(line.substr(6)) * 1024;
    }
  }
  return usage;
}

std::string LastLines(const std::string& path, int lines) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return "";
  constexpr int64_t kTailBytes = 16 << 10;
  const int64_t size = file.tellg();
  file.seekg(std::max<int64_t>(0, size - kTailBytes));
  std::string text((std::istreambuf_iterator<char>(file)), {});
  // The newline that ends the text ends no line before it.
  size_t from = text.size();
  if (from > 0 && text.back() == '\n') --from;
  for (int i = 0; i < lines; ++i) {
    const size_t before = from == 0 ? std::string::npos
                                    : text.rfind('\n', from - 1);
    if (before == std::string::npos) return text;
    from = before;
  }
  return text.substr(from + 1);
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return MakeError(ErrorCode::kInvalidRequest, "cannot read ", path);
  }
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

bool PortIsBusy(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return true;
  const int on = 1;  // as servers do: connections in TIME_WAIT are no matter
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool busy = bind(fd, reinterpret_cast<sockaddr*>(&address),
                         sizeof address) != 0 ||
                    listen(fd, 1) != 0;
  close(fd);
  return busy;
}

bool AnswersHttp(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const timeval patience{kHttpPatienceS, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  constexpr char kRequest[] = "GET /healthz HTTP/1.0\r\n\r\n";
  constexpr ssize_t kRequestBytes = sizeof kRequest - 1;
  char answer = 0;
  const bool answered =
      connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) ==
          0 &&
      send(fd, kRequest, kRequestBytes, MSG_NOSIGNAL) == kRequestBytes &&
      recv(fd, &answer, 1, 0) == 1 && answer == 'H';
  close(fd);
  return answered;
}

std::string OwnDirectory() {
  char path[4096];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof path);
  if (size <= 0) return ".";
  const std::string text(path, static_cast<size_t>(size));
  return text.substr(0, text.rfind('/'));
}

}  // namespace sluice::cli
