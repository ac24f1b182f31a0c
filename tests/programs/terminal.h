// One of our programs in a terminal: what it shows, lines that are typed, Ctrl-C.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

namespace fusec::tests {

class Terminal {
 public:
  Terminal(const std::string& name, std::vector<std::string> arguments) {
    const std::string path = FUSEC_PROGRAMS + name;
    arguments.insert(arguments.begin(), path);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    screen_ = posix_openpt(O_RDWR | O_NOCTTY);
    REQUIRE(screen_ >= 0);
    REQUIRE(grantpt(screen_) == 0);
    REQUIRE(unlockpt(screen_) == 0);
    const std::string device = ptsname(screen_);
    child_ = fork();
    REQUIRE(child_ >= 0);
    if (child_ > 0) return;
    setsid();
    const int line = open(device.c_str(), O_RDWR);  // the session's terminal from now on
    ioctl(line, TIOCSCTTY, 0);
    termios settings{};
    tcgetattr(line, &settings);
    settings.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHOCTL);
    tcsetattr(line, TCSANOW, &settings);
    for (int to : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(line, to);
    execv(path.c_str(), argv.data());
    _exit(127);
  }
  ~Terminal() {
    if (child_ > 0) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    close(screen_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(const std::string& text) {
    REQUIRE(write(screen_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  void ctrl_c() { type("\x03"); }

  // What is shown up to and with `end`; fails the test if nothing more comes for a minute.
  std::string read_to(const std::string& end) {
    while (waiting_.find(end) == std::string::npos) {
      if (read_some()) continue;
      FAIL("no \"" << end << "\" in: " << waiting_);
    }
    const size_t length = waiting_.find(end) + end.size();
    const std::string text = waiting_.substr(0, length);
    waiting_.erase(0, length);
    return text;
  }

  // The rest, and the exit code, or 128 + the signal that ended it.
  int wait() {
    while (read_some()) {
    }
    int status = 0;
    REQUIRE(waitpid(child_, &status, 0) == child_);
    child_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  bool read_some() {
    pollfd ready = {screen_, POLLIN, 0};
    if (poll(&ready, 1, 60000) <= 0) return false;
    char bytes[4096];
    const ssize_t count = read(screen_, bytes, sizeof bytes);  // an error once nobody writes
    if (count <= 0) return false;
    waiting_.append(bytes, static_cast<size_t>(count));
    return true;
  }

  int screen_ = -1;
  pid_t child_ = -1;
  std::string waiting_;
};

}  // namespace fusec::tests
