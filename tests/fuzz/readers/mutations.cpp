// A deterministic mutation driver for one reader: valid inputs with bytes flipped, pieces cut,
// doubled and swapped between inputs, numbers made extreme. Anything but a value or a fusec::Error
// (another exception, a signal, a sanitizer's report, more than a minute) fails, and leaves the
// input in a file.
//
//   reader_plan_text [-runs=N] [-seed=S] [-skip=K] [FILE ...]   given files are read once each;
//                    the first K inputs are made but not read
//   reader_plan_text -corpus=FOLDER                   writes the valid inputs, for libFuzzer
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "fusec/base/error.h"
#include "reader.h"

namespace fusec::fuzz {
namespace {

std::string current;  // the input in work
char report[256];     // where it goes if the process dies
long number = 0;      // of the input

void save_current() {
  int fd = open(report, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd < 0) return;
  if (write(fd, current.data(), current.size()) < 0) std::abort();
  close(fd);
}

void on_signal(int signal_number) {
  save_current();
  std::fprintf(stderr, "the reader died on input %ld, which is now in the file %s\n", number,
               report);
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

class Mutator {
 public:
  Mutator(std::vector<std::string> seeds, uint64_t seed)
      : seeds_(std::move(seeds)), engine_(seed) {}

  std::string next() {
    std::string s = seeds_[below(seeds_.size())];
    for (size_t i = 0, n = 1 + below(4); i < n; ++i) mutate(s);
    return s;
  }

 private:
  size_t below(size_t n) { return n == 0 ? 0 : engine_() % n; }

  // A piece of the text: a word, a line or any bytes.
  std::pair<size_t, size_t> piece(const std::string& s) {
    size_t at = below(s.size()), size = 1 + below(below(2) ? 8 : 64);
    if (below(3) == 0) {
      size_t start = s.rfind('\n', at), end = s.find('\n', at);
      at = start == std::string::npos ? 0 : start + 1;
      size = (end == std::string::npos ? s.size() : end + 1) - std::min(at, s.size());
    }
    return {at, std::min(size, s.size() - std::min(at, s.size()))};
  }

  void mutate(std::string& s) {
    static const char* const numbers[] = {"0",
                                          "-1",
                                          "1",
                                          "4294967296",
                                          "9223372036854775807",
                                          "-9223372036854775808",
                                          "1e308",
                                          "nan",
                                          "65536",
                                          "99999999999999999999",
                                          "3000000000"};
    if (s.empty()) s = "\n";
    auto [at, size] = piece(s);
    switch (below(9)) {
      case 0: s[below(s.size())] ^= static_cast<char>(1 << below(8)); break;
      case 1: s[below(s.size())] = static_cast<char>(engine_()); break;
      case 2: s.erase(at, size); break;
      case 3: s.insert(at, s.substr(at, size)); break;
      case 4: {
        const std::string& other = seeds_[below(seeds_.size())];
        auto [from, length] = piece(other);
        s.replace(at, size, other.substr(from, length));
        break;
      }
      case 5: {  // a number of the text
        size_t digit = s.find_first_of("0123456789", at);
        if (digit == std::string::npos) break;
        size_t end = s.find_first_not_of("0123456789.", digit);
        s.replace(digit, (end == std::string::npos ? s.size() : end) - digit,
                  numbers[below(std::size(numbers))]);
        break;
      }
      case 6: s.resize(below(s.size() + 1)); break;
      case 7: {  // a binary number
        uint64_t word = below(2) ? engine_() : uint64_t{1} << below(64);
        std::memcpy(s.data() + below(s.size()), &word, 1);
        if (s.size() >= 8) std::memcpy(s.data() + below(s.size() - 7), &word, 1 + below(8));
        break;
      }
      default: {  // two pieces change places
        std::string a = s.substr(at, size);
        s.erase(at, size);
        s.insert(below(s.size() + 1), a);
      }
    }
  }

  std::vector<std::string> seeds_;
  std::mt19937_64 engine_;
};

int run(const std::string& name, int argc, char** argv) {
  long runs = 2000, skip = 0;
  uint64_t seed = 1;
  std::vector<std::string> inputs, seeds = reader_seeds();
  for (int i = 1; i < argc; ++i) {
    std::string a = argv[i];
    if (a.starts_with("-runs="))
      runs = std::atol(a.c_str() + 6);
    else if (a.starts_with("-seed="))
      seed = std::strtoull(a.c_str() + 6, nullptr, 10);
    else if (a.starts_with("-skip="))
      skip = std::atol(a.c_str() + 6);
    else if (a.starts_with("-corpus=")) {
      std::filesystem::create_directories(a.substr(8));
      for (size_t k = 0; k < seeds.size(); ++k)
        std::ofstream(a.substr(8) + "/seed" + std::to_string(k), std::ios::binary) << seeds[k];
      return 0;
    } else {
      inputs.push_back(contents(a));
    }
  }
  std::snprintf(report, sizeof report, "crash-%s", name.c_str());
  for (int s : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGALRM}) signal(s, on_signal);
  long accepted = 0, refused = 0;
  auto trial = [&](std::string bytes, bool valid) {
    current = std::move(bytes);
    alarm(60);
    try {
      read_bytes(current);
      ++accepted;
    } catch (const Error& e) {
      ++refused;
      if (!valid) return true;
      std::fprintf(stderr, "%s refuses a valid input: %s\n", name.c_str(), e.what());
    } catch (const std::exception& e) {
      std::fprintf(stderr, "%s: an exception that is no fusec::Error: %s\n", name.c_str(),
                   e.what());
      save_current();
      return false;
    }
    return true;
  };
  for (const std::string& s : inputs)
    if (!trial(s, false)) return 1;
  if (!inputs.empty()) return 0;
  for (const std::string& s : seeds)
    if (!trial(s, true) || refused > 0) return 1;
  Mutator mutator(seeds, seed);
  bool fine = true;
  for (number = 0; number < runs && fine; ++number) {
    std::string input = mutator.next();
    if (number >= skip) fine = trial(std::move(input), false);
  }
  alarm(0);
  std::printf("%s: %ld inputs read, %ld refused\n", name.c_str(), accepted, refused);
  return fine ? 0 : 1;
}

}  // namespace
}  // namespace fusec::fuzz

int main(int argc, char** argv) {
  int rc = fusec::fuzz::run(std::filesystem::path(argv[0]).filename().string(), argc, argv);
  unlink(fusec::fuzz::as_file("").c_str());
  return rc;
}
