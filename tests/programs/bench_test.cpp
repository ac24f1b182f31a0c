// The benches that take sizes, at sizes that say nothing: that they run and leave what they
// promise.
#include <cmath>
#include <set>

#include "fusec/io/json.h"
#include "program.h"

namespace fusec::tests {
namespace {

std::vector<nlohmann::json> lines_of(const std::string& path) {
  std::vector<nlohmann::json> lines;
  const std::string text = io::read_file(path);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(io::parse_json(std::string_view(text).substr(begin, end - begin), path, 4));
    begin = end + 1;
  }
  return lines;
}

TEST_CASE("bench_train times a step, with pictures and without") {
  const Scratch scratch;
  for (const std::string model : {"vision-gpt:tiny", "gpt:tiny"}) {
    const Ended run =
        run_program(scratch, "bench_train",
                    {"--model", model, "--device", "cpu", "--batch", "2", "--steps", "2",
                     "--warmup", "1", "--matmul-side", "64", "--copy-bytes", "1048576", "--json",
                     scratch / "train.jsonl", "--profile=" + scratch / "profile"});
    CHECK_MESSAGE(run.code == 0, run.err);
    CHECK(run.out.find("in no kernel") != std::string::npos);
    const std::string profile = io::read_file(scratch / "profile/profile.json");
    CHECK(io::parse_json(profile, "profile", 8).at("steps").size() > 50);
    io::parse_json(io::read_file(scratch / "profile/trace.json"), "trace", 8);
  }
  const auto lines = lines_of(scratch / "train.jsonl");
  REQUIRE(lines.size() == 2);
  for (const auto& line : lines) {
    CHECK(line.at("batch") == 2);
    CHECK(line.at("ms").get<double>() > 0);
    CHECK(line.at("ms_least").get<double>() <= line.at("ms").get<double>());
    CHECK(line.at("tok_s").get<double>() * line.at("ms").get<double>() ==
          doctest::Approx(2 * 32 * 1e3));
    CHECK(line.at("first_step_s").get<double>() > 0);
    CHECK(line.at("planned_gib").get<double>() > 0);
    CHECK(line.at("loss0").get<double>() == doctest::Approx(std::log(2048)).epsilon(0.1));
  }
  CHECK(lines[0].at("params").get<int64_t>() > lines[1].at("params").get<int64_t>());
}

TEST_CASE("bench_kernels times every kernel, and refuses what it does not know") {
  const Scratch scratch;
  const Ended run = run_program(scratch, "bench_kernels",
                                {"--device", "cpu", "--shrink", "4096", "--rounds", "1", "--json",
                                 scratch / "kernels.jsonl"});
  CHECK_MESSAGE(run.code == 0, run.out << run.err);
  std::set<std::string> names;
  for (const auto& line : lines_of(scratch / "kernels.jsonl")) {
    names.insert(line.at("kernel"));
    CHECK(line.at("ms").get<double>() > 0);
    CHECK(line.at("gb_s").get<double>() + line.at("tflop_s").get<double>() > 0);
  }
  CHECK(names.size() == 59);
  const Ended wrong = run_program(scratch, "bench_kernels", {"--shrnk", "4"});
  CHECK(wrong.code == 1);
  CHECK(wrong.err.find("did you mean \"--shrink\"?") != std::string::npos);
}

}  // namespace
}  // namespace fusec::tests
