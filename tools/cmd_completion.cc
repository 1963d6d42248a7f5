#include <CLI/App.hpp>
#include <iostream>
#include <string>

#include "tools/commands.h"

namespace sluice::cli {
namespace {

// Every command below `app`, as `[PATH]="WORDS"` of a bash array: what may
// follow it, commands first.
void PutWords(const CLI::App* app, const std::string& path, std::string& out) {
  std::string words;
  for (const CLI::App* command :
       app->get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_group().empty()) continue;  // hidden
    words += command->get_name() + " ";
    PutWords(command,
             path.empty() ? command->get_name()
                          : path + " " + command->get_name(),
             out);
  }
  for (const CLI::Option* option : app->get_options()) {
    for (const std::string& name : option->get_lnames()) {
      words += "--" + name + " ";
    }
  }
  // bash refuses an empty subscript, hence the program's name in each.
  out += "  [\"sluice" + (path.empty() ? "" : " " + path) + "\"]=\"" + words +
         "\"\n";
}

constexpr char kFunction[] = R"sh(
_sluice() {
  local cur=${COMP_WORDS[COMP_CWORD]} path=sluice word
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [ -n "${_sluice_words["$path $word"]+x}" ] && path="$path $word"
  done
  local words=${_sluice_words[$path]}
  case "$path" in
    "sluice produce"|"sluice consume"|"sluice topic describe"|"sluice topic delete"|"sluice topic add-partitions"|"sluice topic trim")
      case "${COMP_WORDS[COMP_CWORD-1]}" in
        -g|--group)
          words="$(sluice group list -o name --timeout-ms 1000 2>/dev/null)" ;;
        *) [[ $cur == -* ]] ||
          words="$words $(sluice topic list -o name --timeout-ms 1000 2>/dev/null)" ;;
      esac ;;
    "sluice group describe"|"sluice group seek"|"sluice group delete"|"sluice group delete-offsets")
      case "${COMP_WORDS[COMP_CWORD-1]}" in
        --topic)
          words="$(sluice topic list -o name --timeout-ms 1000 2>/dev/null)" ;;
        *) [[ $cur == -* ]] ||
          words="$words $(sluice group list -o name --timeout-ms 1000 2>/dev/null)" ;;
      esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _sluice sluice
)sh";

}  // namespace

void AddCompletion(CLI::App* root, Context* context) {
  CLI::App* command = root->add_subcommand(
      "completion", "a bash script that completes commands, options, topics, groups");
  command->footer(
      "Examples:\n  source <(sluice completion)\n"
      "  sluice completion > /etc/bash_completion.d/sluice");
  context->OnChosen(command, [root] {
    std::string words;
    PutWords(root, "", words);
    std::cout << "declare -A _sluice_words=(\n" << words << ")\n" << kFunction;
    return absl::OkStatus();
  });
}

}  // namespace sluice::cli
