#include "fusec/base/timing.h"

#include <time.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "fusec/base/options.h"

namespace fusec {
namespace {

thread_local int depth = 0;

double since_boot() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Field 22 of /proc/self/stat, in ticks since boot; below 0 if it cannot be read.
double start_of_process() {
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  size_t at = text.rfind(')');  // the program's name may hold anything
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = text.find(' ', at + 1);
  if (at == std::string::npos) return -1;
  long long ticks = 0;
  const char* end = text.data() + text.size();
  if (std::from_chars(text.data() + at + 1, end, ticks).ec != std::errc()) return -1;
  return static_cast<double>(ticks) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

void tell(double now, double seconds, int level, std::string_view what, const std::string& note) {
  std::fprintf(stderr, "fusec time %7.3f s  +%.4f  %*s%.*s%s%s%s\n", now, seconds, 2 * level, "",
               static_cast<int>(what.size()), what.data(), note.empty() ? "" : " (", note.c_str(),
               note.empty() ? "" : ")");
}

}  // namespace

double process_age() {
  static const double start = start_of_process();
  return start < 0 ? 0 : since_boot() - start;
}

bool timing() { return env("FUSEC_TIME") == "1"; }

TimeSpan::TimeSpan(std::string_view what) {
  if (!timing()) return;
  what_ = what;
  start_ = since_boot();
  ++depth;
}

TimeSpan::~TimeSpan() { end(); }

void TimeSpan::end() {
  if (start_ < 0) return;
  --depth;
  tell(process_age(), since_boot() - start_, depth, what_, note_);
  start_ = -1;
}

void tell_time(std::string_view what, double seconds) {
  if (timing()) tell(process_age(), seconds, depth, what, "");
}

}  // namespace fusec
