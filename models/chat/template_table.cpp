// The table; a new family is one row. tests/chat holds each row to what the family's own template
// gives, and a row is found by what its texts say, so there is nothing else to write.
#include "template_table.h"

namespace fusec::models {
namespace {

ChatFrame chatml(const std::string& role) { return {"<|im_start|>" + role + "\n", "<|im_end|>\n"}; }
ChatFrame llama(const std::string& role) {
  return {"<|start_header_id|>" + role + "<|end_header_id|>\n\n", "<|eot_id|>"};
}
ChatFrame plain(const std::string& role) { return {"<|" + role + "|>", "<|end|>"}; }

const std::vector<std::string> kChatmlSpecials = {"<|im_start|>", "<|im_end|>"};
const std::vector<std::string> kLlamaSpecials = {"<|begin_of_text|>", "<|start_header_id|>",
                                                 "<|end_header_id|>", "<|eot_id|>"};
const std::vector<std::string> kQwenTools = {"tool", "function", "arguments", "\"name\""};

ChatForm chatml_form(const std::string& name, const std::string& default_system) {
  return {.name = name,
          .specials = kChatmlSpecials,
          .system = chatml("system"),
          .user = chatml("user"),
          .assistant = chatml("assistant"),
          .tool = chatml("tool"),
          .default_system = default_system,
          .other_ends = {"<|endoftext|>"},
          .foreign_code = {"trim", "strip", "bos_token", "eos_token", "tool"}};
}

ChatForm qwen_form(const std::string& name, const std::string& default_system) {
  ChatForm form = chatml_form(name, default_system);
  form.tool = {"\n<tool_response>\n", "\n</tool_response>"};
  form.tool_run = {"<|im_start|>user", "<|im_end|>\n"};
  form.call = {"<tool_call>\n", "\n</tool_call>"};
  form.code = {"tool_calls"};
  form.foreign_code = {"trim", "strip", "bos_token", "eos_token"};
  form.tool_texts = kQwenTools;
  return form;
}

ChatForm qwen3_form() {
  ChatForm form = qwen_form("qwen3", "");
  form.no_thought = "<think>\n\n</think>\n\n";
  form.code = {"tool_calls", "enable_thinking", "reasoning_content", "last_query_index"};
  form.foreign_code = {"trim", "bos_token", "eos_token"};
  return form;
}

ChatForm llama_form(const std::string& name) {
  return {.name = name,
          .specials = kLlamaSpecials,
          .begin = "<|begin_of_text|>",
          .system = llama("system"),
          .user = llama("user"),
          .assistant = llama("assistant"),
          .tool = llama("tool"),
          .trims = true,
          .other_ends = {"<|end_of_text|>", "<|eom_id|>"},
          .code = {"trim", "bos_token"},
          .foreign_code = {"strip", "eos_token", "tool"}};
}

ChatForm llama31_form() {
  ChatForm form = llama_form("llama3.1");
  form.tool = llama("ipython");
  form.system_preamble = "Cutting Knowledge Date: December 2023\nToday Date: %DATE%\n\n";
  form.quotes_results = true;
  form.code = {"trim", "bos_token", "date_string", "tojson"};
  form.foreign_code = {"strip(", "eos_token"};
  form.tool_texts = {"tool",       "function",       "parameters", "arguments",
                     "\"name\"",   "ipython",        "variables",  "call(",
                     "<|eom_id|>", "<|python_tag|>", "%d %b %Y",   "26 Jul 2024"};
  return form;
}

ChatForm plain_form() {
  return {.name = "plain",
          .specials = {"<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>"},
          .system = plain("system"),
          .user = plain("user"),
          .assistant = plain("assistant"),
          .tool = plain("tool"),
          .foreign_code = {"trim", "strip", "bos_token", "eos_token"}};
}

}  // namespace

std::span<const ChatForm> chat_forms() {
  static const std::vector<ChatForm> forms = {
      plain_form(),
      chatml_form("chatml", ""),
      chatml_form("smollm2",
                  "You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
      chatml_form("qwen2", "You are a helpful assistant."),
      qwen_form("qwen2.5", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
      qwen3_form(),
      llama_form("llama3"),
      llama31_form(),
  };
  return forms;
}

}  // namespace fusec::models
