#include <fmt/format.h>

#include "cli/terminal/listener.h"
#include "cli/terminal/options.h"
#include "scute/recipe/memory_limit.h"

// The flags that several verbs or kinds of model have: one name, one text, the same bounds.

namespace scute::cli {

void Options::model(std::string& value, Need need) {
  text("MODEL,--model,--ckpt", value, "PATH",
       "the model: a folder with config.json and weights, or a regressor's checkpoint, .pt", need);
  last_reads();
  last_means(FlagInfo::Means::model);
}

void Options::models(std::vector<std::string>& values) {
  texts("--models", values, "MODEL,...", "float models, all of one kind", Need::required);
  last_reads();
  last_means(FlagInfo::Means::models);
}

void Options::against(std::string& value) {
  text("--against", value, "MODEL",
       "a model of the same kind to compare with, item by item, e.g. low-bit against float");
  last_reads();
  last_means(FlagInfo::Means::reference);
}

void Options::random(std::optional<std::string>& value, const std::string& otherwise) {
  custom("--random", "SIZE", otherwise, "random weights of this size, instead of a model's",
         [&value](const std::string& given) { value = given; });
  last_means(FlagInfo::Means::size);
}

void Options::backend(Backend& value) {
  custom("--backend", "integer|simulate", "integer",
         "of low-bit models: 8-bit products in integers, or float arithmetic on rounded values",
         [&value](const std::string& given) {
           if (given != "integer" && given != "simulate") {
             throw UsageError(
                 fmt::format("--backend: expected integer or simulate, found \"{}\"", given));
           }
           value = given == "integer" ? Backend::integer : Backend::simulate;
         });
}

void Options::compute(Compute& value) {
  custom("--compute", "f32|bf16", value == Compute::f32 ? "f32" : "bf16",
         "precision of matrix products", [&value](const std::string& given) {
           if (given != "f32" && given != "bf16") {
             throw UsageError(fmt::format("--compute: expected f32 or bf16, found \"{}\"", given));
           }
           value = given == "f32" ? Compute::f32 : Compute::bf16;
         });
}

void Options::tokenizer(std::string& value) {
  text("--tokenizer", value, "FILE", "tokenizer.json to use instead of the model's own");
  last_reads();
}

namespace {

/// One of two words; true for the second.
bool one_of(const std::string& flag, const std::string& given, const char* first,
            const char* second) {
  if (given == first || given == second) return given == second;
  throw UsageError(fmt::format("{}: expected {} or {}, found \"{}\"", flag, first, second, given));
}

}  // namespace

void Options::special_tokens(bool& value, const std::string& where) {
  custom("--special-tokens", "on|off", "off",
         "put the tokenizer's special tokens (<s>, ...) " + where,
         [&value](const std::string& given) {
           value = one_of("--special-tokens", given, "off", "on");
         });
}

void Options::text_input(TextInput& value) {
  if (listener() != nullptr) value.cancelled = &listener()->stop;
  tokenizer(value.tokenizer);
  special_tokens(value.special_tokens, "around each text");
  custom("--bad-lines", "refuse|skip", "refuse",
         "of .jsonl and .json: stop at a line that cannot be read, or count it and go on",
         [&value](const std::string& given) {
           value.skip_bad_lines = one_of("--bad-lines", given, "refuse", "skip");
         });
  custom("--raw-ids", "u16|u32|i32|i64", "", "type of ids in .npy or .bin files without a header",
         [&value](const std::string& given) { value.raw_ids = parse_raw_ids(given, "--raw-ids"); });
  note(
      "Of texts and ids, FILE may be standard input: - or /dev/stdin. What it begins with tells "
      "what it is.");
}

void Options::machine(int& threads) {
  this->threads(threads);
  flag("--portable", portable_,
       "the same bytes on every x86-64 machine; slower (docs/numerics.md says how much)");
}

void Options::threads(int& threads) {
  integer("--threads", threads, {0, 4096}, "threads; 0: all processors");
  custom("--device", "cpu", "cpu", "scute computes on the processor", [](const std::string& given) {
    if (given == "cpu") return;
    throw UsageError(fmt::format(
        "--device: expected cpu, found \"{}\"; scute runs on the processor and needs no GPU",
        given));
  });
}

void Options::memory(std::optional<int64_t>& value) {
  custom("--memory", "SIZE", "what it takes",
         "memory to keep within, e.g. 6G, 800M or 6GiB: the work is planned for it, or refused",
         [&value](const std::string& given) { value = parse_memory(given, "--memory"); });
}

void Options::quiet(bool& value) { flag("--quiet,-q", value, "no progress on standard error"); }

void Options::json(bool& value) { flag("--json", value, "one JSON object instead of words"); }

void Options::out_folder(std::string& value, bool& force) {
  text("--out,--output", value, "DIR", "the folder to write", Need::required);
  flag("--force", force, "replace the folder also if it was edited since scute wrote it");
}

void Options::force(bool& value) {
  flag("--force", value, "replace a file also if it was edited, or is not scute's");
}

void Options::items_out(std::string& value) {
  text("--items-out", value, "FILE",
       "scores of each item (window, passage, picture), one JSON object a line, for paired "
       "comparison; a name ending in .jsonl");
}

void Options::statistics_out(std::string& value, Need need) {
  text("--out,--stats-out", value, "FILE", "statistics: a name ending in .safetensors or .pt",
       need);
}

void Options::sites(std::string& value, const std::string& otherwise) {
  custom("--sites", "GLOB", otherwise, "sites to observe, of those that scute sites lists",
         [&value](const std::string& given) { value = given; });
}

void Options::fine(int& value) {
  integer("--fine", value, {1, 16},
          "mantissa bits of a histogram bucket; 8 tells values apart to 0.2%");
}

void Options::per_channel(bool& value) {
  flag("--per-channel", value, "also the largest magnitude of each channel");
}

void Options::state_every(int64_t& value) {
  integer("--state-every", value, {.least = 0},
          "show ssm_state_act:steps after so many tokens; 0: never");
}

void Options::images(std::string& value) {
  text("--images", value, "DIR",
       "pictures: .jpg, .jpeg, .png, .webp, .bmp, in it and below, in sorted order");
  last_reads();
}

void Options::part(int64_t& skip, std::optional<int64_t>& take) {
  integer("--skip", skip, {.least = 0},
          "documents (shuffled), or pieces of at most 64 windows, left out at the beginning");
  integer("--take", take, {.least = 1}, "all",
          "documents or pieces used at most after skipping; merge adds parts up to the whole");
}

void Options::plan(std::string& value) {
  text("--plan,--overrides", value, "FILE", kPlanHelp);
  last_reads();
}

void Options::statistics_in(std::string& value) {
  text("--stats", value, "FILE", "statistics, kept in the checkpoint");
  last_reads();
}

void Options::prompts(std::string& value, bool& no_random_text, int64_t& length) {
  text("--prompts", value, "FILE",
       "texts (.txt, .jsonl) or ids (.jsonl, .npy): row i for picture i, or one for all; without "
       "it random ids");
  last_reads();
  flag("--no-random-text", no_random_text, "without --prompts: no text at all");
  integer("--text-len", length, {1, 1 << 20}, "random ids of a picture");
  not_with({"--no-random-text", "--text-len"}, "--prompts FILE");
  not_with({"--text-len"}, "--no-random-text");
}

}  // namespace scute::cli
