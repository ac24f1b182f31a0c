// JSONL documents: a round trip, and a message with path:line for every kind of bad line.
#include "fusec/io/documents.h"

#include "scratch.h"

using namespace fusec;
using io::Part;
using tests::contains;
using tests::user_error;

TEST_CASE("documents: written and read back") {
  tests::Scratch scratch;
  std::vector<io::Document> documents(3);
  documents[0] = {{{"user", {{Part::Type::image, "images/a.png"}, {Part::Type::text, "Qu\"é?\n"}}},
                   {"assistant", {{Part::Type::text, "<image> 😀"}}}},
                  "1f600", "Smileys & Emotion", "train"};
  documents[1] = {{{"system", {}}}, "", "", ""};
  documents[2] = {
      {{"assistant",
        {{Part::Type::text, "Let me see."}, {Part::Type::tool, R"({"name": "count"})"}}},
       {"tool", {{Part::Type::tool, "12"}, {Part::Type::image, "b.png"}}},
       {"tool", {{Part::Type::text, "</tool>"}}}},
      "t",
      "",
      ""};
  io::write_documents(scratch / "a.jsonl", documents);
  CHECK(io::read_documents(scratch / "a.jsonl") == documents);
}

TEST_CASE("documents: string content, empty lines, unknown keys, no last newline, CRLF") {
  tests::Scratch scratch;
  const std::string path = scratch.file(
      "a.jsonl", "\n{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"source\":7}\r\n  \n"
                 "{\"messages\":[{\"role\":\"assistant\",\"content\":[]}],\"id\":\"x\"}");
  const std::vector<io::Document> documents = io::read_documents(path);
  REQUIRE(documents.size() == 2);
  CHECK(documents[0].messages[0].parts == std::vector<Part>{{Part::Type::text, "hi"}});
  CHECK(documents[0].line == 2);
  CHECK(documents[1].line == 4);
  CHECK(documents[1].id == "x");
  CHECK(io::read_documents(scratch.file("empty.jsonl", "")).empty());
}

TEST_CASE("documents: a bad line is a user error with path:line and what was expected") {
  tests::Scratch scratch;
  const std::string good = R"({"messages":[{"role":"user","content":"hi"}]})";
  auto refused = [&](const std::string& line, const std::string& part) {
    const std::string path = scratch.file("a.jsonl", good + "\n" + line + "\n" + good + "\n");
    const std::string message = user_error([&] { io::read_documents(path); });
    CHECK(contains(message, path + ":2: "));
    CHECK(contains(message, part));
  };
  refused("{\"messages\":", "not JSON near column");
  refused("{\"messages\":\"\xff\"}", "byte 0xff at column 14 is not UTF-8");
  refused(R"({"messages":[{"role":"user","content":"hi"}],"id":"a","id":"b"})",
          "key \"id\" stands twice");
  refused(R"({"messages":[{"role":"user","content":"hi"}],"n":1e999})", "number is too large");
  refused(std::string(20, '['), "more than 16 arrays and objects");
  refused("[]", "an empty array; expected a document");
  refused("{}", "no \"messages\"");
  refused(R"({"messages":[]})", "an empty array; expected at least one message");
  refused(R"({"messages":{}})", "messages is an object");
  refused(R"({"messages":["hi"]})", "messages[0] is a string");
  refused(R"({"messages":[{"content":"hi"}]})", "messages[0] has no \"role\"");
  refused(R"({"messages":[{"role":"asistant","content":"hi"}]})", "did you mean \"assistant\"");
  refused(R"({"messages":[{"role":"user"}]})", "no \"content\"");
  refused(R"({"messages":[{"role":"user","content":3}]})", "content is a number");
  refused(R"({"messages":[{"role":"user","content":["hi"]}]})", "content[0] is a string");
  refused(R"({"messages":[{"role":"user","content":[{"type":"img","path":"a"}]}]})", "\"img\"");
  refused(R"({"messages":[{"role":"user","content":[{"type":"image"}]}]})", "no \"path\"");
  refused(R"({"messages":[{"role":"user","content":[{"type":"image","path":""}]}]})", "is empty");
  refused(R"({"messages":[{"role":"user","content":[{"type":"text","text":1}]}]})",
          "text is a number; expected a string");
  refused(R"({"messages":[{"role":"assistant","content":[{"type":"tool","path":"a"}]}]})",
          "content[0] has no \"text\"");
  refused(R"({"messages":[{"role":"user","content":["","x",{"type":"tool","text":"a"}]}]})",
          "content[0] is a string");
  refused(R"({"messages":[{"role":"user","content":[{"type":"tool","text":"a"}]}]})",
          "messages[0].content[0] is a tool part in a message of role \"user\"");
  refused(R"({"messages":[{"role":"tools","content":"a"}]})", "did you mean \"tool\"");
  refused(R"({"messages":[{"role":"user","content":"hi"}],"id":5})", "document.id is a number");
  CHECK(contains(user_error([&] { io::read_documents(scratch / "none.jsonl"); }), "none.jsonl"));
}

TEST_CASE("documents: text that JSON cannot hold is not written") {
  tests::Scratch scratch;
  std::vector<io::Document> documents = {{{{"user", {{Part::Type::text, "\xc3("}}}}, "x", "", ""}};
  CHECK(contains(user_error([&] { io::write_documents(scratch / "a.jsonl", documents); }),
                 "id \"x\""));
  CHECK(!std::filesystem::exists(scratch / "a.jsonl"));
}

TEST_CASE("documents: any change of any byte is read or refused, and nothing else") {
  tests::Scratch scratch;
  const std::string good =
      R"({"messages":[{"role":"user","content":[{"type":"image","path":"a"}]}],"id":"b"})"
      "\n"
      R"({"messages":[{"role":"system","content":"\u00e9"}]})";
  REQUIRE(io::parse_documents(good, "a").size() == 2);
  tests::for_each_mutation(good, [](const std::string& bytes) { io::parse_documents(bytes, "a"); });
}
