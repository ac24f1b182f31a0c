// Arguments that nobody took, and exceptions that nobody caught, to text; see command_line.h.
#include "command_line.h"

#include <csignal>
#include <cstdio>
#include <exception>
#include <sstream>

#include "fusec/base/error.h"
#include "fusec/base/nearest.h"
#include "fusec/io/file.h"

namespace fusec::examples {
namespace {

// The line of `key = ...` in a config file; 0 if it is not there.
int line_of(const std::string& file, const std::string& key) {
  std::istringstream lines(io::read_file(file));
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const size_t begin = line.find_first_not_of(" \t");
    if (begin == std::string::npos || line.compare(begin, key.size(), key) != 0) continue;
    const size_t after = line.find_first_not_of(" \t", begin + key.size());
    if (after == std::string::npos || line[after] == '=') return number;
  }
  return 0;
}

}  // namespace

void refuse_unknown(const CLI::App& app, const std::string& config_file) {
  const std::vector<std::string> extras = app.remaining(true);
  if (extras.empty()) return;
  std::vector<std::string> known;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  }
  const std::string wrong = extras[0].substr(0, extras[0].find('='));
  const size_t letters = wrong.find_first_not_of('-');
  const std::string bare = letters == std::string::npos ? "" : wrong.substr(letters);
  const std::string near = nearest("--" + bare, known);
  if (wrong == bare && !config_file.empty()) {
    if (const int line = line_of(config_file, bare)) {
      fail_user(config_file + ":" + std::to_string(line) + ": unknown key \"" + bare + "\" (" +
                (near.empty() ? "--help lists all, without their dashes"
                              : "did you mean \"" + near.substr(2) + "\"?") +
                ")");
    }
  }
  fail_user("unknown option \"" + wrong + "\" (" +
            (near.empty() ? "--help lists all" : "did you mean \"" + near + "\"?") + ")");
}

int run_program(const char* program, const std::function<int()>& action) {
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return action();
  } catch (const std::exception& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "%s: %s\n", program, error.what());
  }
  return 1;
}

}  // namespace fusec::examples
