// Every wrong input of the programs: exit code 1 and one paragraph that says what was found, what
// was expected and what to do.
#include <cstring>
#include <fstream>

#include "fusec/io/safetensors.h"
#include "tiny_run.h"

using namespace fusec;
using tests::contains;
using tests::Ended;
using tests::Flags;
using tests::Scratch;

namespace {

void check_refused(const Ended& ended, const std::vector<std::string>& parts) {
  CHECK(ended.code == 1);
  CHECK(ended.signal == 0);
  CHECK(ended.err.find("error: ") != std::string::npos);
  for (const std::string& part : parts) CHECK(contains(ended.err, part));
}

void append_line(const std::string& path, const std::string& line) {
  std::ofstream(path, std::ios::app) << line << "\n";
}

}  // namespace

TEST_CASE("refused: unknown options win over what else is wrong, and name the nearest") {
  Scratch scratch;
  check_refused(tests::run_program(scratch, "emoji_data", {"--outt", "x"}),
                {"emoji_data: error: unknown option \"--outt\" (did you mean \"--out\"?)"});
  check_refused(tests::run_program(scratch, "emoji_data", {}), {"--out is required"});
  check_refused(tests::run_program(scratch, "emoji_data", {"--out", "x", "--size", "1"}),
                {"--size"});
  check_refused(tests::run_program(scratch, "vision_pretrain", {"--save-evry=3"}),
                {"unknown option \"--save-evry\" (did you mean \"--save-every\"?)"});
  check_refused(tests::run_program(scratch, "vision_pretrain", {"--keep", "0"}),
                {"--keep", "out of range, expected 1 or more"});
}

TEST_CASE("refused: a config file with an unknown key, by file and line; a missing one") {
  Scratch scratch;
  const std::string config = scratch.file("run.toml", "# a run\nlr=0.01\n\nbacth = 8\n");
  check_refused(tests::run_program(scratch, "vision_pretrain", {"--config", config}),
                {config + ":4: unknown key \"bacth\" (did you mean \"batch\"?)"});
  check_refused(tests::run_program(scratch, "vision_pretrain", {"--config", scratch / "none.toml"}),
                {"none.toml"});
}

TEST_CASE("refused: data that is missing, empty or damaged, by file and line") {
  Scratch scratch;
  check_refused(tests::pretrain(scratch, "run"), {"train.jsonl not found", "emoji_data --out"});
  tests::write_tiny_data(scratch);
  const std::string train = scratch / "data/train.jsonl";
  const std::string good = io::read_file(train);
  auto refused = [&](const std::string& line, const std::vector<std::string>& parts) {
    io::write_file(train, good);
    append_line(train, line);
    std::vector<std::string> all = parts;
    all.push_back(train + ":9");
    check_refused(tests::pretrain(scratch, "run"), all);
  };
  refused("{\"messages\": [", {"not JSON near column", "mend or remove the line"});
  refused("{\"messages\": \"\xff\"}", {"byte 0xff at column 15 is not UTF-8"});
  refused("{\"messages\": 7}", {"messages is a number; expected at least one message"});
  refused("{}", {"no \"messages\""});
  auto of_image = [](const std::string& path) {
    return R"({"messages":[{"role":"user","content":[{"type":"image","path":")" + path +
           R"("}]},{"role":"assistant","content":"red"}]})";
  };
  refused(of_image("images/gone.png"), {"gone.png: cannot be read: No such file"});
  const std::string png = io::read_file(scratch / "data/images/p0.png");
  scratch.file("data/images/cut.png", png.substr(0, png.size() / 2));
  refused(of_image("images/cut.png"), {"cut.png: damaged PNG image"});
  scratch.file("data/images/photo.png", "\xff\xd8\xff\xe0 JFIF");
  refused(of_image("images/photo.png"), {"photo.png: unreadable JPEG image"});
  scratch.file("data/images/other.png", "GIF89a....");
  refused(of_image("images/other.png"), {"other.png: neither a PNG nor a JPEG image but"});

  io::write_file(train, "\n  \n");
  check_refused(tests::pretrain(scratch, "run"), {train + ": holds no documents"});
  CHECK(!std::filesystem::exists(scratch / "run"));
}

TEST_CASE(
    "refused: checkpoints that are cut short, foreign, of another version, model, tokenizer") {
  Scratch scratch;
  tests::write_tiny_data(scratch);
  REQUIRE(tests::pretrain(scratch, "run", {"--steps", "4", "--save-every", "2"}).code == 0);
  const std::string path = scratch / "run/checkpoints/step-00000004.safetensors";
  const std::string good = io::read_file(path);
  auto refused = [&](const std::string& bytes, const std::vector<std::string>& parts) {
    io::write_file(path, bytes);
    check_refused(tests::pretrain(scratch, "run", {"--steps", "4", "--resume"}), parts);
  };
  // Of the same length, so that the rest of the file stays where it was.
  auto edited = [&](const std::string& from, const std::string& to) {
    REQUIRE(from.size() == to.size());
    std::string bytes = good;
    const size_t at = bytes.find(from);
    REQUIRE(at != std::string::npos);
    return bytes.replace(at, to.size(), to);
  };
  refused(good.substr(0, good.size() - 100),
          {path, "not a sound safetensors file", "an earlier checkpoint is ", "step-00000002"});
  refused(good.substr(0, 5), {"it has 5 bytes"});
  refused(edited("\"version\":\"2\"", "\"version\":\"9\""),
          {"checkpoint of version 9, this program reads version 2"});
  refused(edited("head.weight\":{\"dtype\":\"F32\"", "haed.weight\":{\"dtype\":\"F32\""),
          {"1 missing:\n    head.weight (did you mean \"haed.weight\"?)",
           "1 unexpected:\n    haed.weight"});
  refused(edited("\"dtype\":\"F32\",\"shape\":[8]", "\"dtype\":\"I32\",\"shape\":[8]"),
          {"1 of another type:", "is i32, expected f32"});
  const size_t tokenizer = good.find("\"tokenizer\":\"") + 13;
  std::string other = good;
  other.replace(tokenizer, 16, "0123456789abcdef");
  refused(other, {"made with tokenizer 0123456789abcdef, this run has "});
  std::string shape = good;
  const size_t table = shape.find("\"embedding.weight\":{");
  const size_t at = shape.find("\"shape\":[", table) + 9;
  std::string size = shape.substr(at, shape.find(']', at) - at);  // "264,8" as "8,264"
  shape.replace(at, size.size(),
                size.substr(size.find(',') + 1) + "," + size.substr(0, size.find(',')));
  refused(shape, {"1 of another shape:\n    embedding.weight is [8, "});
  io::write_file(path, good);
  check_refused(tests::pretrain(scratch, "run",
                                {"--steps", "4", "--resume", scratch / "run/weights.safetensors"}),
                {"holds tensors but is no checkpoint", "--init takes its weights"});
  check_refused(tests::pretrain(scratch, "run", {"--resume", scratch / "data"}),
                {"data: holds no checkpoint"});
  check_refused(tests::pretrain(scratch, "new", {"--resume"}), {"new: no such checkpoint"});
  check_refused(tests::pretrain(scratch, "run", {"--init", scratch / "none.safetensors"}),
                {"none.safetensors: cannot be read"});
}

TEST_CASE("refused: ten losses in a row that are not finite, each skipped with its culprit") {
  Scratch scratch;
  tests::write_tiny_data(scratch);
  REQUIRE(tests::pretrain(scratch, "good", {"--steps", "3"}).code == 0);
  // The same weights with a head that overflows.
  io::SafetensorsReader good(scratch / "good/weights.safetensors");
  std::vector<io::NamedType> types;
  for (const io::TensorEntry& t : good.header().tensors) types.push_back({t.name, t.type});
  std::string bytes;
  io::write_safetensors(scratch / "huge.safetensors", types, {}, [&](size_t i) -> std::string_view {
    bytes = good.read(good.header().tensors[i]);
    if (types[i].name != "head.weight") return bytes;
    const float huge = 3e38f;
    for (size_t at = 0; at < bytes.size(); at += 4) std::memcpy(&bytes[at], &huge, 4);
    return bytes;
  });
  const Ended ended = tests::pretrain(scratch, "bad",
                                      {"--steps", "40", "--softcap", "0", "--save-every", "2",
                                       "--init", scratch / "huge.safetensors"});
  check_refused(ended, {"error: step 1: loss ", "not finite for 10 steps in a row", "gemm",
                        "no checkpoint was taken before it"});
  for (int skipped = 1; skipped <= 10; ++skipped) {
    CHECK(contains(ended.out, "skipped (" + std::to_string(skipped) + " so far)"));
  }
  CHECK((!std::filesystem::exists(scratch / "bad/checkpoints") ||
         std::filesystem::is_empty(scratch / "bad/checkpoints")));
}
