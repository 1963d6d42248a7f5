// The main of a fuzz target where libFuzzer is not linked: runs every file of
// its corpus, then a bounded number of seeded changes of them. Deterministic
// but for --seconds, which test/fuzz/run.sh uses where there is no libFuzzer.
//
//   TARGET [--seed=N] [--mutations=N] [--seconds=N] [--dictionary=FILE]
//          [--artifacts=DIRECTORY] PATH...
//
// A PATH is an input or a directory of inputs; with one file and no options it
// replays one failure. The input that the process dies of is first written to
// DIRECTORY/crash-<target>; Bazel's tests find it in their outputs.zip.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/numbers.h"
#include "common/base/str_cat.h"
#include "test/fuzz/mutation.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
// Of the sanitizers, when they are linked.
extern "C" void __sanitizer_set_death_callback(void (*callback)())
    __attribute__((weak));

namespace sluice::fuzz {
namespace {

struct Options {
  uint64_t seed = 1;
  int64_t mutations = 0;
  int64_t seconds = 0;
  std::string dictionary;
  std::string artifacts;
  std::vector<std::string> paths;
};

// What a signal handler may touch.
const char* current_data = nullptr;
size_t current_size = 0;
char artifact_path[4096];

void SaveCurrentInput() {
  if (current_data == nullptr || artifact_path[0] == '\0') return;
  const int file = ::open(artifact_path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
  if (file < 0) return;
  if (::write(file, current_data, current_size) ==
      static_cast<ssize_t>(current_size)) {
    constexpr char kSays[] = "the input that did it: ";
    (void)!::write(STDERR_FILENO, kSays, sizeof kSays - 1);
    (void)!::write(STDERR_FILENO, artifact_path, ::strlen(artifact_path));
    (void)!::write(STDERR_FILENO, "\n", 1);
  }
  ::close(file);
  current_data = nullptr;
}

void OnSignal(int signal) {
  SaveCurrentInput();
  std::signal(signal, SIG_DFL);
  ::raise(signal);
}

void CatchDeath() {
  if (__sanitizer_set_death_callback != nullptr) {
    __sanitizer_set_death_callback(&SaveCurrentInput);
    std::signal(SIGABRT, &OnSignal);
    return;
  }
  // SIGTERM: a test that hangs is ended so.
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTERM}) {
    std::signal(signal, &OnSignal);
  }
  // Inputs are small: whoever asks for this much believed a length in one.
  const rlimit limit{1 << 30, 1 << 30};
  if (::setrlimit(RLIMIT_AS, &limit) != 0) std::perror("setrlimit");
}

[[noreturn]] void Refuse(const std::string& why) {
  std::fprintf(stderr, "replay: %s\n", why.c_str());
  std::exit(2);
}

int64_t ToNumber(const std::string& name, const std::string& text) {
  int64_t number = 0;
  if (!absl::SimpleAtoi(text, &number) || number < 0) {
    Refuse(StrCat(name, " is not a number: ", text));
  }
  return number;
}

Options ParseOptions(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const size_t equals = argument.find('=');
    if (argument.rfind("--", 0) != 0 || equals == std::string::npos) {
      options.paths.push_back(argument);
      continue;
    }
    const std::string name = argument.substr(0, equals);
    const std::string value = argument.substr(equals + 1);
    if (name == "--seed") {
      options.seed = static_cast<uint64_t>(ToNumber(name, value));
    } else if (name == "--mutations") {
      options.mutations = ToNumber(name, value);
    } else if (name == "--seconds") {
      options.seconds = ToNumber(name, value);
    } else if (name == "--dictionary") {
      options.dictionary = value;
    } else if (name == "--artifacts") {
      options.artifacts = value;
    } else {
      Refuse(StrCat("unknown option ", argument));
    }
  }
  if (options.paths.empty()) Refuse("no corpus is given");
  const char* outputs = std::getenv("TEST_UNDECLARED_OUTPUTS_DIR");
  if (options.artifacts.empty() && outputs != nullptr) {
    options.artifacts = outputs;
  }
  return options;
}

std::string ReadWhole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  if (!file.is_open()) Refuse(StrCat("cannot read ", path));
  return content.str();
}

std::vector<std::string> ReadCorpus(const std::vector<std::string>& paths) {
  std::vector<std::string> names;
  for (const std::string& path : paths) {
    if (!std::filesystem::is_directory(path)) {
      names.push_back(path);
      continue;
    }
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      found.push_back(entry.path().string());
    }
    // A corpus that is gone would make a test that cannot fail.
    if (found.empty()) Refuse(StrCat(path, " is empty"));
    std::sort(found.begin(), found.end());
    names.insert(names.end(), found.begin(), found.end());
  }
  std::vector<std::string> corpus;
  for (const std::string& name : names) corpus.push_back(ReadWhole(name));
  return corpus;
}

void RunOne(const std::string& input) {
  current_data = input.data();
  current_size = input.size();
  // An exact copy on the heap: a read past the end is one past the block.
  const std::vector<uint8_t> copy(input.begin(), input.end());
  (void)LLVMFuzzerTestOneInput(copy.data(), copy.size());
  current_data = nullptr;
}

int Run(const Options& options) {
  const std::vector<std::string> corpus = ReadCorpus(options.paths);
  std::vector<std::string> dictionary;
  if (!options.dictionary.empty()) {
    auto tokens = ParseDictionary(ReadWhole(options.dictionary));
    if (!tokens.ok()) Refuse(std::string(tokens.status().message()));
    dictionary = *std::move(tokens);
  }
  for (const std::string& input : corpus) RunOne(input);
  Mutator mutator(options.seed, corpus, dictionary);
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::seconds(options.seconds);
  int64_t done = 0;
  while (done < options.mutations ||
         (options.seconds > 0 && std::chrono::steady_clock::now() < end)) {
    RunOne(mutator.Next());
    ++done;
  }
  std::printf("%zu corpus files, %lld mutations, seed %llu\n", corpus.size(),
              static_cast<long long>(done),
              static_cast<unsigned long long>(options.seed));
  return 0;
}

int Main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv);
  if (!options.artifacts.empty()) {
    const std::string target =
        std::filesystem::path(argv[0]).filename().string();
    std::snprintf(artifact_path, sizeof artifact_path, "%s/crash-%s",
                  options.artifacts.c_str(), target.c_str());
  }
  CatchDeath();
  return Run(options);
}

}  // namespace
}  // namespace sluice::fuzz

int main(int argc, char** argv) { return sluice::fuzz::Main(argc, argv); }
