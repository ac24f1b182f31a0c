// graph_fuzz: random graphs, the oracle against the unfused and the fused program.
//
//   graph_fuzz --graphs 10000 --seed 1 --jobs 2 --out failures
//
// Workers are processes, so a crash costs one graph: it is reported with its seed like any failure.
// Every failure is shrunk, written as .mlir, and printed with the command that replays it from that
// file alone. The closing line counts what was compared and what was not, also after Ctrl-C. Exit
// status 1 on failure.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <new>

#include "graph_fuzz.h"

namespace fusec::fuzz {
namespace {

constexpr unsigned kSecondsAGraph = 120;  // then a graph counts as hung
constexpr int kMostFailures = 20;         // of one worker
constexpr int kDeviceLost = 3;            // exit status: the failure is written, start afresh

struct Settings {
  uint64_t seed = 1;
  int64_t graphs = 1000;
  double seconds = 1e18;
  int jobs = 1;
  std::string out = "failures";
  std::string tool = "build/bin/fusec";
  std::string device = "cpu";
};

// What a worker has done, in memory that outlives it.
struct Progress {
  int64_t next = 0;  // number of the graph in work, then of the next one
  int64_t graphs = 0, ops = 0, tensors = 0, elements = 0, excluded = 0, refused = 0, failures = 0;
  double check_seconds = 0;
};

volatile sig_atomic_t interrupted = 0;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Runs `work` in a child; true if it neither crashed nor returned false.
bool survives(const std::function<bool()>& work) {
  pid_t child = fork();
  if (child == 0) {
    alarm(kSecondsAGraph);
    bool fine = work();
    _exit(fine ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Why `device` cannot be used here; empty if it can. Asked in a child: a process that has opened a
// GPU must not start workers.
std::string missing(const std::string& device) {
  if (device == "cpu") return "";
  int ends[2];
  if (pipe(ends) != 0) fail_device("graph_fuzz: no pipe");
  pid_t child = fork();
  if (child == 0) {
    std::string why;
    try {
      Graph g;
      CompileOptions options;
      options.device = device;
      compile(g, {g.input("x", {4}) + 1.0}, options);
    } catch (const std::exception& e) {
      why = e.what();
    }
    bool told = write(ends[1], why.data(), why.size()) == static_cast<ssize_t>(why.size());
    _exit(told ? 0 : 1);
  }
  close(ends[1]);
  std::string why;
  char buffer[512];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;)
    why.append(buffer, static_cast<size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (why.empty() && status != 0) why = "the process that tried it died";
  return why;
}

// The exact command that replays a failure, and whether it does so from the file alone.
void write_failure(const Settings& s, uint64_t seed, const Mode& mode, Sample& sample,
                   const std::string& what, bool crash) {
  std::filesystem::create_directories(s.out);
  std::string path = s.out + "/failure-" + std::to_string(seed) + ".mlir";
  std::string command = s.tool + " check " + path + " --seed " + std::to_string(seed);
  if (mode.bf16) command += " --precision bf16";
  if (mode.device != "cpu") command += " --device " + mode.device;
  if (mode.threads != 1) command += " --threads " + std::to_string(mode.threads);
  std::string text = write_graph(*sample.graph, sample.outputs, "failure");
  bool replays = crash;
  if (!crash) {
    ReadGraph read = read_graph(text, path);
    Sample again{std::move(read.graph), std::move(read.outputs)};
    Mode full = mode;
    full.kernels = true;
    replays = judge(again, seed, full).failed();
  }
  std::ofstream file(path, std::ios::binary);
  file << text << "// seed " << seed << "\n// replay: " << command << "\n";
  for (size_t at = 0; at < what.size();) {
    size_t end = std::min(what.find('\n', at), what.size());
    file << "// " << what.substr(at, end - at) << "\n";
    at = end + 1;
  }
  std::printf("FAILURE seed %llu, %lld ops%s: %s\n  %s\n", static_cast<unsigned long long>(seed),
              static_cast<long long>(count_ops(*sample.graph)),
              replays ? "" : " (does NOT replay from its text)", what.c_str(), command.c_str());
  std::fflush(stdout);
}

Mode settled_mode(const Settings& s, uint64_t seed) {
  Mode mode = mode_of(seed);
  mode.device = s.device;
  return mode;
}

void shrink_failure(const Settings& s, uint64_t seed, const Mode& mode, Sample sample) {
  Sample small =
      shrink(std::move(sample), [&](Sample& x) { return judge(x, seed, mode).failed(); });
  Verdict verdict = judge(small, seed, mode);
  write_failure(s, seed, mode, small, verdict.what, false);
}

void shrink_crash(const Settings& s, uint64_t seed, int signal) {
  Mode mode = settled_mode(s, seed);
  auto crashes = [&](Sample& x) {
    return !survives([&] {
      judge(x, seed, mode);
      return true;
    });
  };
  Sample sample = generate(seed);
  bool again = crashes(sample);
  if (again) sample = shrink(std::move(sample), crashes, 300);
  write_failure(s, seed, mode, sample,
                std::string("the process died: ") + strsignal(signal) +
                    (again ? "" : " (not again on its own: it may need the graphs before it)"),
                true);
}

// Graphs worker, worker + jobs, ... of the run.
void work(const Settings& s, int worker, double end, Progress& p) {
  while (p.next < s.graphs && now() < end && p.failures < kMostFailures && !interrupted) {
    uint64_t seed = s.seed + static_cast<uint64_t>(p.next);
    alarm(kSecondsAGraph);
    Mode mode = settled_mode(s, seed);
    Sample sample = generate(seed);
    double start = now();
    Verdict v = judge(sample, seed, mode);
    p.check_seconds += now() - start;
    ++p.graphs;
    p.ops += count_ops(*sample.graph);
    p.tensors += v.report.tensors;
    p.elements += v.report.elements;
    p.excluded += v.report.excluded;
    p.refused += v.refused;
    if (v.failed()) {
      ++p.failures;
      if (v.lost) {
        write_failure(s, seed, mode, sample, v.what, true);
        p.next += s.jobs;
        std::fflush(stdout);
        _exit(kDeviceLost);
      }
      alarm(20 * kSecondsAGraph);
      shrink_failure(s, seed, mode, std::move(sample));
    }
    p.next += s.jobs;
  }
  alarm(0);
}

int run(const Settings& s) {
  if (std::string why = missing(s.device); !why.empty()) {
    std::printf("[SKIP] no graph was checked on %s: %s\n", s.device.c_str(), why.c_str());
    return 0;
  }
  double start = now(), end = start + s.seconds;
  void* memory = mmap(nullptr, sizeof(Progress) * s.jobs, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail_device("graph_fuzz: no shared memory for the workers");
  Progress* progress = new (memory) Progress[s.jobs];
  struct sigaction on_interrupt = {};  // no SA_RESTART: wait() below returns
  on_interrupt.sa_handler = [](int) { interrupted = 1; };
  sigaction(SIGINT, &on_interrupt, nullptr);
  std::map<pid_t, int> workers;
  auto launch = [&](int w) {
    std::fflush(stdout);
    pid_t child = fork();
    if (child < 0) fail_device("graph_fuzz: cannot start a worker process");
    if (child == 0) {
      work(s, w, end, progress[w]);
      std::fflush(stdout);
      _exit(0);
    }
    workers[child] = w;
  };
  for (int w = 0; w < s.jobs; ++w) {
    progress[w].next = w;
    launch(w);
  }
  while (!workers.empty()) {
    int status = 0;
    pid_t child = wait(&status);
    if (child < 0) {  // workers end after the graph in work
      for (auto [worker, w] : workers) kill(worker, SIGINT);
      continue;
    }
    int w = workers.at(child);
    workers.erase(child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
    Progress& p = progress[w];
    if (WIFEXITED(status) && WEXITSTATUS(status) == kDeviceLost) {
      if (p.failures < kMostFailures && !interrupted) launch(w);
      continue;
    }
    ++p.failures;
    ++p.graphs;
    shrink_crash(s, s.seed + static_cast<uint64_t>(p.next),
                 WIFSIGNALED(status) ? WTERMSIG(status) : SIGABRT);
    p.next += s.jobs;
    if (p.failures < kMostFailures && !interrupted) launch(w);
  }
  Progress sum;
  for (int w = 0; w < s.jobs; ++w) {
    const Progress& p = progress[w];
    sum.graphs += p.graphs, sum.ops += p.ops, sum.tensors += p.tensors;
    sum.elements += p.elements, sum.excluded += p.excluded, sum.refused += p.refused;
    sum.failures += p.failures;
    sum.check_seconds += p.check_seconds;
  }
  double took = now() - start;
  double all = static_cast<double>(sum.elements + sum.excluded);
  std::printf(
      "%lld graphs, %lld ops, %lld tensors and %lld elements compared, %lld elements "
      "(%.3f%%) excluded, %lld graphs not compiled for this device, %lld failures; %.1f s, "
      "%.1f ms a graph and worker\n",
      static_cast<long long>(sum.graphs), static_cast<long long>(sum.ops),
      static_cast<long long>(sum.tensors), static_cast<long long>(sum.elements),
      static_cast<long long>(sum.excluded),
      all > 0 ? 100 * static_cast<double>(sum.excluded) / all : 0.0,
      static_cast<long long>(sum.refused), static_cast<long long>(sum.failures), took,
      1000 * sum.check_seconds / static_cast<double>(std::max<int64_t>(1, sum.graphs)));
  return sum.failures > 0 ? 1 : 0;
}

int main_of(int argc, char** argv) {
  Settings s;
  for (int i = 1; i < argc; ++i) {
    std::string flag = argv[i];
    if (flag == "--help" || i + 1 >= argc) {
      std::printf(
          "graph_fuzz [--graphs N] [--seed S] [--seconds T] [--jobs N] [--out FOLDER] "
          "[--tool PATH-OF-FUSEC] [--device cpu|cuda]\n");
      return flag == "--help" ? 0 : 2;
    }
    std::string value = argv[++i];
    if (flag == "--graphs")
      s.graphs = std::atoll(value.c_str());
    else if (flag == "--seed")
      s.seed = std::strtoull(value.c_str(), nullptr, 10);
    else if (flag == "--seconds")
      s.seconds = std::atof(value.c_str());
    else if (flag == "--jobs")
      s.jobs = std::max(1, std::atoi(value.c_str()));
    else if (flag == "--out")
      s.out = value;
    else if (flag == "--device")
      s.device = value;
    else if (flag == "--tool")
      s.tool = value;
    else {
      std::fprintf(stderr, "graph_fuzz: unknown option %s; see --help\n", flag.c_str());
      return 2;
    }
  }
  return run(s);
}

}  // namespace
}  // namespace fusec::fuzz

int main(int argc, char** argv) {
  try {
    return fusec::fuzz::main_of(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "graph_fuzz: %s\n", e.what());
    return 2;
  }
}
