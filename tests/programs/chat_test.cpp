// `chat` on stored models of two layers with random weights: what it says makes no sense, but is
// the same for equal seeds, and lines, commands, signals and errors are those of any model.
#include <algorithm>

#include "fusec/base/utf8.h"
#include "fusec/io/image.h"
#include "fusec/io/json.h"
#include "terminal.h"
#include "tiny_run.h"

using namespace fusec;
using tests::contains;
using tests::Ended;
using tests::Flags;
using tests::Scratch;
using tests::Terminal;

namespace {

const std::string kFolder = std::string(FUSEC_IMPORT_FIXTURES) + "/smollm2";
const std::string kGguf = std::string(FUSEC_IMPORT_FIXTURES) + "/gguf/model.gguf";

Ended chat(const Scratch& scratch, const Flags& more, const std::string& model = kFolder) {
  Flags flags = {model};
  flags.insert(flags.end(), more.begin(), more.end());
  auto given = [&](const char* flag) {
    return std::find(more.begin(), more.end(), flag) != more.end();
  };
  if (!given("--device")) flags.insert(flags.end(), {"--device", "cpu"});
  if (!given("--max-tokens")) flags.insert(flags.end(), {"--max-tokens", "8"});
  return tests::run_program(scratch, "chat", flags);
}

void check_refused(const Ended& ended, const std::string& part) {
  CHECK(ended.code == 1);
  CHECK(ended.out.empty());
  CHECK(contains(ended.err, "chat: error: "));
  CHECK(contains(ended.err, part));
}

}  // namespace

TEST_CASE("chat: one answer to --prompt; equal seeds give equal text") {
  const Scratch scratch;
  for (const std::string& model : {kFolder, kGguf}) {
    CAPTURE(model);
    const Ended once = chat(scratch, {"--prompt", "hello", "--seed", "5"}, model);
    CHECK(once.code == 0);
    CHECK(!once.out.empty());
    CHECK(is_utf8(once.out));
    CHECK(chat(scratch, {"--prompt", "hello", "--seed", "5"}, model).out == once.out);
    CHECK(chat(scratch, {"--prompt", "hello", "--seed", "6"}, model).out != once.out);
    const Ended one = chat(scratch, {"--prompt", "hello", "--seed", "5", "--threads", "1"}, model);
    CHECK(one.out == once.out);
    const Flags greedy = {"--prompt", "hello", "--temperature", "0", "--stats"};
    const Ended best = chat(scratch, greedy, model);
    CHECK(chat(scratch, {"--prompt", "hello", "--top-k", "1"}, model).out == best.out);
    CHECK(contains(best.err, "tokens/s"));
    CHECK(contains(best.err, "of 64]"));
  }
}

TEST_CASE("chat: a text is continued as it is with --raw; a context that is full says so") {
  const Scratch scratch;
  const Ended raw = chat(scratch, {"--raw", "--prompt", "hello", "--temperature", "0"});
  CHECK(raw.code == 0);
  CHECK(!raw.out.empty());
  CHECK(raw.out != chat(scratch, {"--prompt", "hello", "--temperature", "0"}).out);
  const Ended full =
      chat(scratch, {"--raw", "--prompt", "hello", "--max-tokens", "0", "--context", "12"});
  CHECK(contains(full.err, "the context of 12 tokens is full"));
  check_refused(chat(scratch, {"--prompt", std::string(300, 'x')}), "the context of 64");
}

TEST_CASE("chat: refused, with what was expected") {
  const Scratch scratch;
  auto refused = [&](const std::string& model, const Flags& flags, const std::string& part) {
    check_refused(chat(scratch, flags, model), part);
  };
  refused("", {}, "no model; expected a folder");
  refused(scratch / "none.gguf", {}, "none.gguf: cannot be read");
  refused(scratch.file("odd.gguf", "GGUFx"), {}, "odd.gguf");
  refused(scratch.file("text.txt", "words, no weights"), {}, "text.txt");
  refused(std::string(FUSEC_IMPORT_FIXTURES) + "/siglip", {}, "an encoder of images alone");
  refused(std::string(FUSEC_IMPORT_FIXTURES) + "/llama", {}, "name the tokenizer.json");
  refused(kFolder, {"--template", "chatm"}, "did you mean \"chatml\"?");
  refused(kFolder, {"--template", "llama3"}, "has no token <|");
  refused(kFolder, {"--weights", "f64"}, "--weights: unknown value \"f64\"");
  refused(kFolder, {"--device", "gpu"}, "--device: unknown value \"gpu\"");
  refused(kFolder, {"--context", "65"}, "expected 1 to 64");
  refused(kFolder, {"--temprature", "0"}, "did you mean \"--temperature\"?");
  refused(kFolder, {"--top-p", "0"}, "--top-p");
  refused(kFolder, {"--raw", "--system", "x"}, "no --system");
  io::write_png(scratch / "p.png", io::solid(4, 4, 1, 2, 3));
  refused(kFolder, {"--prompt", "hi", "--image", scratch / "p.png"}, "reads no images");
}

TEST_CASE("chat: lines and commands in a terminal") {
  const Scratch scratch;
  Terminal t("chat", {kFolder, "--device", "cpu", "--max-tokens", "4", "--temperature", "0"});
  auto say = [&](const std::string& line) {
    t.type(line + "\n");
    return t.read_to(">>> ");
  };
  CHECK(contains(t.read_to(">>> "), "/help lists commands"));
  CHECK(contains(say("/retry"), "nothing was answered yet"));
  const std::string first = say("hello");
  CHECK(say("/retry") == first);
  CHECK(contains(say("/stats"), "from the cache"));
  CHECK(contains(say("at"), "from the cache"));
  say("/reset");
  CHECK(contains(say("hello"), first.substr(0, 4)));
  CHECK(contains(say("/system"), "expected /system TEXT"));
  CHECK(contains(say("/rety"), "did you mean \"/retry\"?"));
  CHECK(contains(say("/image " + scratch / "none.png"), "reads no images"));
  CHECK(contains(say("/help"), "/image PATH"));
  say("//hello");
  say("   ");
  t.type("/quit\n");
  CHECK(t.wait() == 0);
}

TEST_CASE("chat: Ctrl-C ends an answer, not the chat; between answers it ends the program") {
  // Without a token that ends answers, and with a context that takes minutes to fill.
  const Scratch scratch;
  const std::string model = scratch / "model";
  std::filesystem::copy(kFolder, model);
  std::filesystem::remove(model + "/generation_config.json");
  nlohmann::json config = nlohmann::json::parse(io::read_file(model + "/config.json"));
  config.erase("eos_token_id");
  config["max_position_embeddings"] = 200000;
  io::write_file(model + "/config.json", config.dump());
  Terminal t("chat",
             {model, "--device", "cpu", "--raw", "--max-tokens", "0", "--context", "200000"});
  t.read_to(">>> ");
  t.type("/reset\n");
  CHECK(contains(t.read_to(">>> "), "--raw has none"));
  for (int answer = 0; answer < 2; ++answer) {
    t.type("hello\n");
    t.read_to("e");  // it has begun
    t.ctrl_c();
    t.read_to("[interrupted]");
    t.read_to(">>> ");
  }
  t.ctrl_c();
  CHECK(t.wait() == 128 + SIGINT);

  Terminal twice("chat", {model, "--device", "cpu", "--raw", "--prompt", "hello", "--max-tokens",
                          "0", "--context", "200000"});
  twice.read_to("e");
  twice.ctrl_c();
  twice.read_to("[interrupted]");
  CHECK(twice.wait() == 130);
}
