// Padding and speed of the packer on log-normal lengths, beside rows without packing, rows by
// length and next-fit, which closes a row at the first document that does not fit.
//   bench_packer [--capacity N] [--documents N] [--buffer N] [--max-documents N] [--spans N]
//                [--median TOKENS --sigma S]
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "command_line.h"
#include "fusec/base/philox.h"
#include "fusec/data/packer.h"

using namespace fusec;
using data::PackDocument;
using data::PackPolicy;

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Documents over the capacity keep their length: the packer splits them. `spans` is the most that
// one has, of 64 tokens each.
std::vector<PackDocument> log_normal(int64_t count, double median, double sigma, uint32_t spans) {
  std::vector<PackDocument> stream;
  for (uint64_t i = 0; i < static_cast<uint64_t>(count); ++i) {
    const PhiloxBlock block = philox(1, i);
    const double length = median * std::exp(sigma * philox_normal(block[0], block[1]));
    PackDocument document{i, std::max<int64_t>(1, std::llround(length)), {}, nullptr};
    for (int64_t at = 4, left = block[2] % (spans + 1); left-- > 0; at += 68) {
      document.spans.push_back({at, 64});
      document.tokens = std::max(document.tokens, at + 68);
    }
    stream.push_back(std::move(document));
  }
  return stream;
}

double next_fit_padding(const std::vector<PackDocument>& stream, int64_t capacity) {
  int64_t tokens = 0, rows = 1, used = 0;
  for (const PackDocument& document : stream) {
    for (int64_t rest = document.tokens; rest > 0; rest -= capacity) {
      const int64_t piece = std::min(rest, capacity);
      tokens += piece;
      if (used + piece > capacity) {
        ++rows;
        used = 0;
      }
      used += piece;
    }
  }
  return 1 - static_cast<double>(tokens) / static_cast<double>(rows * capacity);
}

void time_packing(const char* name, const data::PackerOptions& options,
                  const std::vector<PackDocument>& stream) {
  std::vector<PackDocument> documents = stream;
  data::Packer packer(options);
  int64_t seen = 0;
  const double start = now();
  auto take = [&] {
    while (std::optional<data::Pack> pack = packer.next()) seen += pack->cu_seqlens.back();
  };
  for (PackDocument& document : documents) {
    if (!packer.wants_documents()) take();
    packer.add(std::move(document));
  }
  packer.finish();
  take();
  const double seconds = now() - start;
  if (seen < packer.statistics().tokens_out) std::abort();
  std::printf("%-12s %7.1f M tokens/s  %6.2f%%  %s\n", name,
              static_cast<double>(packer.statistics().tokens_out) / seconds / 1e6,
              100 * packer.statistics().waste(), packer.statistics().text().c_str());
}

int run(int argc, char** argv) {
  data::PackerOptions options;
  int64_t documents = 200000;
  double median = 0, sigma = 0.9;
  uint32_t spans = 0;
  CLI::App app("Padding and speed of the packer.");
  app.add_option("--capacity", options.capacity, "tokens a pack");
  app.add_option("--documents", documents)->check(CLI::PositiveNumber);
  app.add_option("--buffer", options.buffer_documents, "documents that wait");
  app.add_option("--max-documents", options.max_documents, "documents a pack");
  app.add_option("--max-spans", options.max_spans, "spans a pack (0: any number)");
  app.add_option("--spans", spans, "of a document, at most");
  app.add_option("--median", median, "one distribution instead of four")
      ->check(CLI::PositiveNumber);
  app.add_option("--sigma", sigma, "its width, of the logarithm");
  app.allow_extras();
  try {
    app.parse(argc, argv);
    examples::refuse_unknown(app);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  struct Lengths {
    double median, sigma;
  };
  std::vector<Lengths> all = {{245, 0.9}, {300, 1.0}, {512, 0.5}, {900, 0.8}};
  if (median > 0) all = {{median, sigma}};
  for (const Lengths& lengths : all) {
    const std::vector<PackDocument> stream =
        log_normal(documents, lengths.median, lengths.sigma, spans);
    std::printf("log-normal, median %.0f, sigma %.1f: next-fit %.2f%% padding\n", lengths.median,
                lengths.sigma, 100 * next_fit_padding(stream, options.capacity));
    for (auto [name, policy] : {std::pair{"best fit", PackPolicy::best_fit},
                                std::pair{"by length", PackPolicy::by_length},
                                std::pair{"one a row", PackPolicy::one_per_row}}) {
      options.policy = policy;
      time_packing(name, options, stream);
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return fusec::examples::run_program("bench_packer", [&] { return run(argc, argv); });
}
