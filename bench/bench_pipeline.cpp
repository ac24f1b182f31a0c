// Tokens, batches and images a second of the packed-batch pipeline, with a tokenizer that costs
// next to nothing (a token a word) and 0, 1 or 3 JPEGs a document.
//   bench_pipeline [--documents N] [--images 0,1,3] [--batches N] [--workers N] [--prefetch N]
//                  [--capacity N] [--packs N] [--buffer N] [--side S] [--cache BYTES]
//                  [--step-ms T]
#include <stdlib.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <string_view>
#include <thread>

#include "../tests/data/jpeg_file.h"
#include "command_line.h"
#include "fusec/base/error.h"
#include "fusec/base/hash.h"
#include "fusec/data/pipeline.h"
#include "fusec/io/file.h"
#include "photo.h"

using namespace fusec;
using data::BatchPipeline;

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPictures = 64;
constexpr int64_t kImageTokens = 64;

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "bench_pipelineXXXXXX").string();
    if (!mkdtemp(name.data())) fail_user(name + ": cannot be made");
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

// Words a document: log-normal, median 245, as bench_packer's first distribution.
void write_documents(const std::string& path, int documents) {
  std::string bytes;
  for (uint64_t i = 0; i < static_cast<uint64_t>(documents); ++i) {
    const PhiloxBlock r = philox(1, i);
    const auto words = std::lround(245 * std::exp(0.9 * philox_normal(r[0], r[1])));
    bytes += "{\"text\": \"";
    for (long k = 0; k < std::max(1L, words); ++k)
      bytes += "word" + std::to_string((i + static_cast<uint64_t>(k)) % 997) + " ";
    bytes += "\"}\n";
  }
  io::write_file(path, bytes);
}

data::Rendered render(const data::JsonlRecord& record, int images) {
  data::Sample sample;
  for (int i = 0; i < images; ++i) {
    const int64_t picture = (record.position.line + i) % kPictures;
    sample.images.push_back({i * kImageTokens, kImageTokens, std::to_string(picture) + ".jpg"});
  }
  sample.tokens.assign(static_cast<size_t>(images * kImageTokens), 1);
  std::string_view rest = record.value.at("text").get_ref<const std::string&>();
  while (!rest.empty()) {
    const std::string_view word = rest.substr(0, rest.find(' '));
    sample.tokens.push_back(static_cast<int32_t>(hash_text(word) % 50000));
    rest.remove_prefix(std::min(rest.size(), word.size() + 1));
  }
  sample.targets = sample.tokens;
  return sample;
}

int run(int argc, char** argv) {
  int documents = 20000, batches = 200, side = 224, step_ms = 0;
  std::vector<int> images = {0, 1, 3};
  data::PipelineOptions options;
  data::PipelineResources resources{.image_cache_bytes = 0};
  CLI::App app("Tokens, batches and images a second of the packed-batch pipeline.");
  app.add_option("--documents", documents)->check(CLI::PositiveNumber);
  app.add_option("--images", images, "of a document")->delimiter(',')->check(CLI::Range(0, 16));
  app.add_option("--batches", batches, "that are timed")->check(CLI::PositiveNumber);
  app.add_option("--workers", resources.workers);
  app.add_option("--prefetch", resources.prefetch);
  app.add_option("--capacity", options.packer.capacity, "tokens a pack");
  app.add_option("--packs", options.packs, "a batch");
  app.add_option("--buffer", options.packer.buffer_documents, "documents that wait");
  app.add_option("--side", side, "pixels")->check(CLI::Range(1, 4096));
  app.add_option("--cache", resources.image_cache_bytes, "bytes of images that are kept");
  app.add_option("--step-ms", step_ms, "time that a step would take")->check(CLI::Range(0, 60000));
  app.allow_extras();
  try {
    app.parse(argc, argv);
    examples::refuse_unknown(app);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  const Folder folder;
  write_documents(folder / "a.jsonl", documents);
  for (int i = 0; i < kPictures; ++i) {
    io::write_file(
        folder / (std::to_string(i) + ".jpg"),
        tests::jpeg_bytes(bench::photo(640, 480, static_cast<uint64_t>(i)), {.quality = 85}));
  }
  for (int count : images) {
    options.images = {.side = count == 0 ? 0 : side, .tokens = kImageTokens};
    BatchPipeline pipeline(
        {folder / "a.jsonl"}, {.shuffle = true}, options,
        [count](const data::JsonlRecord& record) { return render(record, count); }, resources);
    (void)pipeline.next();  // fills the packer's buffer
    const double waited = pipeline.wait_seconds();
    const auto start = Clock::now();
    int64_t tokens = 0, pictures = 0;
    for (int i = 0; i < batches; ++i) {
      const BatchPipeline::Lease lease = pipeline.next();
      tokens += lease->filled;
      pictures += lease->image_count;
      std::this_thread::sleep_for(std::chrono::milliseconds(step_ms));
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    std::printf(
        "%d images a document: %8.3f M tokens/s %8.1f batches/s %8.0f images/s, first batch after "
        "%.2f s, waited %.2f%%\n",
        count, static_cast<double>(tokens) / seconds / 1e6, batches / seconds,
        static_cast<double>(pictures) / seconds, waited,
        100 * (pipeline.wait_seconds() - waited) / seconds);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return fusec::examples::run_program("bench_pipeline", [&] { return run(argc, argv); });
}
