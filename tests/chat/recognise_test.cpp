// Models' own Jinja texts: the form that prints the same is found, and nothing is guessed.
#include "fixtures.h"

using namespace fusec;
using namespace fusec::tests;
using models::ChatTemplate;

namespace {

std::string name_for(const std::string& jinja) {
  return ChatTemplate::recognise(jinja, "tokenizer_config.json").name();
}

std::string refusal_of(const std::string& jinja) {
  return user_error([&] { ChatTemplate::recognise(jinja, "tokenizer_config.json"); });
}

// The short templates are those of the models; of the long ones, the statements that print.
const std::string kLoop =
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
const std::string kChatml = "{% for message in messages %}" + kLoop;

std::string with_default(const std::string& system) {
  return "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
         "{{ '<|im_start|>system\\n" +
         system + "<|im_end|>\\n' }}{% endif %}" + kLoop;
}

const std::string kLlama3 =
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
    "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim "
    "+ "
    "'<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
    "{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";

const std::string kLlama31 =
    "{{- bos_token }}{%- if not date_string is defined %}{%- set date_string = \"26 Jul 2024\" %}"
    "{%- endif %}{#- This block's comment #}{%- set system_message = messages[0]['content']|trim %}"
    "{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}"
    "{{- \"Environment: ipython\\n\" }}{{- \"Tools: \" + builtin_tools | reject('equalto', "
    "'code_interpreter') | join(\", \") + \"\\n\\n\"}}"
    "{{- \"Cutting Knowledge Date: December 2023\\n\" }}"
    "{{- \"Today Date: \" + date_string + \"\\n\\n\" }}{{- \"Do not use variables.\\n\\n\" }}"
    "{{- t | tojson(indent=4) }}{{- system_message }}{{- \"<|eot_id|>\" }}"
    "{{- raise_exception(\"Cannot put <that> there!\") }}{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | "
    "trim + '<|eot_id|>' }}{%- elif 'tool_calls' in message %}{{- '{\"name\": \"' + tool_call.name "
    "+ "
    "'\", ' }}{{- '\"parameters\": ' }}{{- \"}\" }}{{- \"<|eom_id|>\" }}"
    "{{- \"<|start_header_id|>ipython<|end_header_id|>\\n\\n\" }}{%- endfor %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}";

const std::string kQwenCalls =
    "{{- \"\\n\\n# Tools\\n\\nYou may call one or more functions\" }}"
    "{%- for tool_call in message.tool_calls %}{{- '<tool_call>\\n{\"name\": \"' }}"
    "{{- '\", \"arguments\": ' }}{{- '}\\n</tool_call>' }}{%- endfor %}"
    "{{- '<|im_start|>user' }}{{- '\\n<tool_response>\\n' }}{{- message.content }}"
    "{{- '\\n</tool_response>' }}{{- '<|im_end|>\\n' }}{{- '<|im_start|>assistant\\n' }}";

std::string qwen25(const std::string& system) {
  return "{%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] }}{%- else %}{{- '" +
         system + "' }}{%- endif %}{{- '<|im_start|>system\\n" + system + "<|im_end|>\\n' }}" +
         kQwenCalls;
}
const std::string kQwenDefault =
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";

const std::string kQwen3 =
    "{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}"
    "{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}"
    "{%- if message.reasoning_content is string %}{%- if '</think>' in content %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\\n') %}"
    "{{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + "
    "'\\n</think>\\n\\n' + content.lstrip('\\n') }}" +
    kQwenCalls +
    "{%- if enable_thinking is defined and enable_thinking is false %}"
    "{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}";

}  // namespace

TEST_CASE("recognise: the templates of the families") {
  CHECK(name_for(kChatml) == "chatml");
  CHECK(
      name_for("{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false "
               "%}{% endif %}" +
               kChatml + "\n") == "chatml");
  CHECK(name_for(with_default("You are a helpful AI assistant named SmolLM, trained by Hugging "
                              "Face")) == "smollm2");
  CHECK(name_for(with_default("You are a helpful assistant.")) == "qwen2");
  CHECK(name_for(qwen25(kQwenDefault)) == "qwen2.5");
  CHECK(name_for(kQwen3) == "qwen3");
  CHECK(name_for(kLlama3) == "llama3");
  CHECK(name_for(kLlama31) == "llama3.1");
}

TEST_CASE("recognise: what differs in one thing is refused, with the names to choose from") {
  const std::string message = refusal_of(with_default("You are a pirate."));
  for (const std::string& name : ChatTemplate::names()) CHECK(contains(message, name));
  CHECK(contains(message, "tokenizer_config.json: "));
  CHECK(contains(message, "--template"));
  CHECK(contains(message, "not chatml: it prints \"<|im_start|>system\nYou are a pirate."));

  auto without = [](std::string text, const std::string& part, const std::string& by = "") {
    const size_t at = text.find(part);
    REQUIRE(at != std::string::npos);
    return text.replace(at, part.size(), by);
  };
  refusal_of(qwen25("You are a maths tutor."));
  refusal_of(qwen25(kQwenDefault) + "{{- '<think>\\n' }}");        // thinks
  refusal_of(qwen25(kQwenDefault) + "{{- '<|vision_start|>' }}");  // sees
  refusal_of(without(kQwen3, "enable_thinking is defined and enable_thinking is false", "x"));
  refusal_of(without(kChatml, "message['content']", "message['content'] | trim"));
  refusal_of(without(kChatml, "'<|im_end|>' + ", "eos_token + "));
  refusal_of(without(kChatml, "'<|im_end|>' + '\\n'", "'<|im_end|>'"));
  refusal_of(without(kChatml, "'<|im_end|>' + '\\n'}}", "'<|im_end|>' -}}\n "));
  CHECK(name_for(without(kChatml, "'<|im_end|>' + '\\n'}}", "'<|im_end|>' }}\n")) == "chatml");
  refusal_of("{{ bos_token }}" + kChatml);
  refusal_of("Conversation: " + kChatml);  // text outside of tags
  refusal_of(without(kLlama3, " | trim"));
  refusal_of(without(kLlama3, "bos_token + "));
  refusal_of(without(kLlama31, "Cutting Knowledge Date: December 2023", "Knowledge: 2024"));
  refusal_of("{{ '[INST] ' + message['content'] + ' [/INST]' }}");
  refusal_of("{{ '### Instruction: ' + message['content'] }}");
  refusal_of("");
  // Cut off anywhere, it is refused or still the same form; never another, and never a crash.
  for (const std::string& jinja : {kChatml, kLlama31, kQwen3}) {
    const std::string whole = name_for(jinja);
    for (size_t length = 0; length < jinja.size(); ++length) {
      std::string name = whole;
      try {
        name = name_for(jinja.substr(0, length));
      } catch (const Error& error) {
        REQUIRE(error.kind() == ErrorKind::user);
      }
      CHECK(name == whole);
    }
  }
}

TEST_CASE("template: names, dates, what it is made of") {
  CHECK(contains(user_error([] { ChatTemplate::named("chatm"); }), "did you mean \"chatml\""));
  CHECK(contains(user_error([] { ChatTemplate::named("chatml").with_date("x"); }), "no date"));
  CHECK(ChatTemplate::named("plain").specials().size() == 5);
  const std::vector<io::Message> messages = {text_message("user", "a")};
  const auto dated = ChatTemplate::named("llama3.1").with_date("01 Jan 2026");
  std::string text;
  for (const models::ChatSegment& segment : dated.lay_out(messages, false, "d"))
    text += segment.value;
  CHECK(contains(text, "Today Date: 01 Jan 2026\n\n<|eot_id|>"));
  for (const std::string& name : ChatTemplate::names()) {
    const std::vector<std::string> specials = ChatTemplate::named(name).specials();
    CHECK(std::find(specials.begin(), specials.end(), ChatTemplate::named(name).turn_end()) !=
          specials.end());
  }
}
