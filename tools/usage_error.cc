#include "tools/usage_error.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

namespace sluice::cli {
namespace {

// The innermost command that the words name.
const CLI::App* ChosenOf(const CLI::App& root) {
  const CLI::App* app = &root;
  while (!app->get_subcommands().empty()) app = app->get_subcommands().back();
  return app;
}

std::string NameOf(const CLI::App* app) {
  std::string name = app->get_name();
  for (app = app->get_parent(); app != nullptr; app = app->get_parent()) {
    name = app->get_name() + " " + name;
  }
  return name;
}

std::string CommandsOf(const CLI::App* app) {
  std::string names;
  for (const CLI::App* command :
       app->get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_group().empty()) continue;  // hidden
    names += (names.empty() ? "" : ", ") + command->get_name();
  }
  return names;
}

}  // namespace

std::string UsageErrorText(const CLI::App& root, const CLI::ParseError& error) {
  const CLI::App* chosen = ChosenOf(root);
  const std::string name = NameOf(chosen);
  std::string cause = error.what();
  if (chosen->get_require_subcommand_min() > 0) {
    const auto words = root.remaining(/*recurse=*/true);
    cause = words.empty() ? "a command is missing"
                          : "there is no '" + words.front() + "'";
    cause += "; there are: " + CommandsOf(chosen);
  }
  return "error: " + name + ": " + cause + "\n  next: `" + name +
         " --help` shows commands, options and examples\n";
}

}  // namespace sluice::cli
