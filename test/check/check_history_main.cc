// check_history FILE...: reads the files as one history, judges it, prints the
// counts and examples. Exit 0: no flaw; 1: flaws; 2: it cannot be read.
#include <fstream>
#include <iostream>

#include "common/base/str_cat.h"
#include "test/check/history_checker.h"
#include "test/check/history_text.h"

int main(int argc, char** argv) {
  using namespace sluice::check;
  if (argc < 2 || std::string_view(argv[1]) == "--help") {
    std::cerr << "usage: check_history FILE...\n"
                 "The files are one history (test/check/HISTORY.md).\n"
                 "Exit: 0 no flaw, 1 flaws, 2 it cannot be read.\n";
    return 2;
  }
  History history;
  for (int i = 1; i < argc; ++i) {
    std::ifstream in(argv[i], std::ios::binary);
    const absl::Status read =
        in ? ReadHistory(in, argv[i], &history)
           : absl::NotFoundError(sluice::StrCat(argv[i], ": cannot be opened"));
    if (!read.ok()) {
      std::cerr << "check_history: " << read.message() << '\n';
      return 2;
    }
  }
  const HistoryVerdict verdict = CheckHistory(history);
  std::cout << verdict.ToTable();
  for (const std::string& example : verdict.examples) {
    std::cout << example << '\n';
  }
  std::cout << (verdict.passed() ? "no flaw" : "FLAWED") << '\n';
  return verdict.passed() ? 0 : 1;
}
