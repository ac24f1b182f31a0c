// Images a second from the bytes of a file to planes of f32: decode, square, scale.
//   bench_images [--width W --height H] [--side S] [--quality Q] [--threads N,...] [--seconds T]
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <thread>

#include "../tests/data/jpeg_file.h"
#include "command_line.h"
#include "fusec/io/file.h"
#include "fusec/io/pixels.h"
#include "photo.h"

using namespace fusec;

namespace {

using Clock = std::chrono::steady_clock;

// Calls of `work` a second by all threads together.
double rate(int threads, double seconds, const std::function<void(int)>& work) {
  std::atomic<int64_t> calls = 0;
  const auto start = Clock::now();
  auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  {
    std::vector<std::jthread> running;
    for (int t = 0; t < threads; ++t) {
      running.emplace_back([&, t] {
        for (; elapsed() < seconds; ++calls) work(t);
      });
    }
  }
  return static_cast<double>(calls.load()) / elapsed();
}

int run(int argc, char** argv) {
  int width = 640, height = 480, side = 224, quality = 85;
  std::vector<int> threads = {1, 2};
  double seconds = 2;
  CLI::App app("Images a second, decoded, made square and scaled.");
  app.add_option("--width", width)->check(CLI::Range(1, io::kMaxImageSide));
  app.add_option("--height", height)->check(CLI::Range(1, io::kMaxImageSide));
  app.add_option("--side", side, "of the square")->check(CLI::Range(1, 4096));
  app.add_option("--quality", quality, "of the JPEG")->check(CLI::Range(1, 100));
  app.add_option("--threads", threads)->delimiter(',')->check(CLI::Range(1, 1024));
  app.add_option("--seconds", seconds, "a measurement")->check(CLI::PositiveNumber);
  app.allow_extras();
  try {
    app.parse(argc, argv);
    examples::refuse_unknown(app);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  const io::Image image = bench::photo(width, height, 1);
  const std::string jpeg = tests::jpeg_bytes(image, {.quality = quality});
  const std::string progressive =
      tests::jpeg_bytes(image, {.quality = quality, .progressive = true});
  const std::string path =
      std::filesystem::temp_directory_path() / ("bench_images" + std::to_string(getpid()));
  io::write_png(path, image);
  const std::string png = io::read_file(path);
  std::filesystem::remove(path);
  const io::PixelTable table(io::PixelScale::white_is_zero());
  const size_t values = size_t{3} * static_cast<size_t>(side) * static_cast<size_t>(side);
  std::printf("%d x %d to %d x %d, images a second\n", width, height, side, side);
  for (int n : threads) {
    std::vector<std::vector<float>> planes(static_cast<size_t>(n), std::vector<float>(values));
    auto whole = [&](const std::string& bytes, io::ImageFit fit) {
      return [&, fit](int t) {
        const io::Image pixels = io::decode_image(bytes, "bench", io::decode_options(fit, side));
        table.write_planes(io::square(pixels, fit, side), planes[static_cast<size_t>(t)].data());
      };
    };
    const io::Image square = io::square(image, io::ImageFit::pad, side);
    struct Row {
      std::string name;
      std::function<void(int)> work;
    };
    auto size = [](const std::string& bytes) {
      return std::to_string(bytes.size() / 1000) + " kB";
    };
    for (const Row& row :
         {Row{"JPEG, " + size(jpeg) + ", padded", whole(jpeg, io::ImageFit::pad)},
          Row{"JPEG, cropped", whole(jpeg, io::ImageFit::crop)},
          Row{"progressive JPEG, padded", whole(progressive, io::ImageFit::pad)},
          Row{"PNG, " + size(png) + ", padded", whole(png, io::ImageFit::pad)},
          Row{"of that: JPEG decoded whole", [&](int) { (void)io::decode_jpeg(jpeg, "bench"); }},
          Row{"of that: JPEG decoded scaled",
              [&](int) {
                (void)io::decode_jpeg(jpeg, "bench", io::decode_options(io::ImageFit::pad, side));
              }},
          Row{"of that: square from the whole",
              [&](int) { (void)io::square(image, io::ImageFit::pad, side); }},
          Row{"of that: planes",
              [&](int t) { table.write_planes(square, planes[static_cast<size_t>(t)].data()); }}}) {
      std::printf("%2d threads  %-34s %9.0f\n", n, row.name.c_str(), rate(n, seconds, row.work));
      std::fflush(stdout);
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return fusec::examples::run_program("bench_images", [&] { return run(argc, argv); });
}
