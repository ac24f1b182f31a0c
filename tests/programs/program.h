// Starts one of our programs and waits for it, or ends it from outside at a chosen moment.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "fusec/io/file.h"
#include "scratch.h"

namespace fusec::tests {

struct Ended {
  int code = -1;    // exit code; -1 after a signal
  int signal = 0;   // that ended it
  std::string out;  // stdout and stderr, each as the program wrote it
  std::string err;
};

class Program {
 public:
  // `file_limit` > 0: no file may grow beyond so many bytes, as on a full disk.
  Program(const Scratch& scratch, const std::string& name, std::vector<std::string> arguments,
          rlim_t file_limit = 0)
      : out_(scratch / "stdout.txt"), err_(scratch / "stderr.txt") {
    const std::string path = FUSEC_PROGRAMS + name;
    arguments.insert(arguments.begin(), path);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    child_ = fork();
    REQUIRE(child_ >= 0);
    if (child_ > 0) return;
    redirect(out_, STDOUT_FILENO);
    redirect(err_, STDERR_FILENO);
    const rlimit limit = {file_limit, file_limit};
    if (file_limit > 0) setrlimit(RLIMIT_FSIZE, &limit);
    execv(path.c_str(), argv.data());
    _exit(127);
  }
  ~Program() {
    if (child_ <= 0) return;
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void signal(int number) const { REQUIRE(kill(child_, number) == 0); }

  Ended wait() {
    int status = 0;
    REQUIRE(waitpid(child_, &status, 0) == child_);
    return ended(status);
  }

  // Sends `number` as soon as `reached` holds, then waits. Fails if the program ends before.
  Ended signal_when(int number, const std::function<bool()>& reached) {
    while (!reached()) {
      int status = 0;
      if (waitpid(child_, &status, WNOHANG) == child_) {
        const Ended early = ended(status);
        FAIL("ended before it was to be signalled:\n" << early.out << early.err);
      }
      usleep(500);
    }
    signal(number);
    return wait();
  }

 private:
  static void redirect(const std::string& path, int to) {
    const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    dup2(file, to);
    close(file);
  }
  Ended ended(int status) {
    child_ = -1;
    Ended result;
    if (WIFEXITED(status)) result.code = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
    result.out = io::read_file(out_);
    result.err = io::read_file(err_);
    return result;
  }

  std::string out_, err_;
  pid_t child_ = -1;
};

inline Ended run_program(const Scratch& scratch, const std::string& name,
                         const std::vector<std::string>& arguments, rlim_t file_limit = 0) {
  return Program(scratch, name, arguments, file_limit).wait();
}

}  // namespace fusec::tests
