// Run state to one line of text; see progress.h.
#include "progress.h"

#include <unistd.h>

#include <fmt/format.h>
#include <algorithm>
#include <cstdio>

namespace fusec::examples {
namespace {

constexpr int kBarWidth = 24;

std::string describe(const Progress& p) {
  std::string steps =
      p.steps > 0 ? fmt::format("{}/{}", p.step, p.steps) : fmt::format("{}", p.step);
  double left = p.share > 0 ? p.seconds / p.share * (1 - p.share) : 0;
  return fmt::format("step {}  loss {:.4f}  lr {:.2e}  {:.0f} tok/s  {} gone, {} left", steps,
                     p.loss, p.lr, p.tokens_per_second, clock_text(p.seconds), clock_text(left));
}

}  // namespace

std::string clock_text(double seconds) {
  int64_t s = static_cast<int64_t>(std::max(0.0, seconds) + 0.5);
  if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

ProgressBar::ProgressBar() : terminal_(isatty(STDOUT_FILENO) != 0) {}

void ProgressBar::draw(const Progress& p) {
  if (terminal_) {
    int full = static_cast<int>(std::clamp(p.share, 0.0, 1.0) * kBarWidth);
    fmt::print("\r\033[K[{}{}] {}", std::string(full, '='), std::string(kBarWidth - full, ' '),
               describe(p));
    bar_shown_ = true;
  } else {
    fmt::print("{:3.0f}%  {}\n", 100 * p.share, describe(p));
  }
  std::fflush(stdout);
}

void ProgressBar::update(const Progress& p) {
  auto now = std::chrono::steady_clock::now();
  double waited = std::chrono::duration<double>(now - last_).count();
  bool first = last_share_ < 0;
  bool due = terminal_ ? waited >= 0.1 : waited >= 10 || p.share - last_share_ >= 0.05;
  if (!first && !due) return;
  last_ = now;
  last_share_ = p.share;
  draw(p);
}

void ProgressBar::say(const std::string& line) {
  fmt::print("{}{}\n", bar_shown_ ? "\r\033[K" : "", line);
  std::fflush(stdout);
}

void ProgressBar::finish(const Progress& p) {
  draw(p);
  if (bar_shown_) fmt::print("\n");
  bar_shown_ = false;
}

}  // namespace fusec::examples
