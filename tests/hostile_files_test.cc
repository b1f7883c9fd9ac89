// Files of a few megabytes made to cost much: each is read, or refused, in a moment and in memory
// of a small multiple of its size.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "scute/base/error.h"
#include "scute/base/json.h"
#include "scute/data/documents.h"
#include "scute/decide/plan.h"
#include "scute/io/npy.h"
#include "scute/io/pickle.h"
#include "scute/io/safetensors.h"
#include "scute/io/testing_cost.h"
#include "scute/io/zip.h"
#include "scute/text/tokenizer.h"

namespace scute::hostile_files_test {
namespace {

constexpr size_t kMega = 1'000'000;
constexpr rlim_t kMostSeconds = 10;  ///< after which a process is ended

std::string repeated(std::string_view part, size_t count) {
  std::string out;
  out.reserve(part.size() * count);
  for (size_t i = 0; i < count; ++i) out += part;
  return out;
}

/// "FIRST, SECOND, …" of part(i).
template <class Part>
std::string listed(size_t count, const Part& part) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += (i == 0 ? "" : ",") + part(i);
  return out;
}

struct Hostile {
  const char* name;
  std::string file;
  void (*read)(const std::string& file);
  double multiple;     ///< of its size, in memory at most, and besides
  double free = 32e6;  ///< so many bytes
};

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

void read_json(const std::string& file) { Json::parse(file, "file"); }
void read_tensors(const std::string& file) {
  parse_safetensors(bytes_of(file), std::ssize(file), "file");
}
void read_pickle(const std::string& file) { parse_torch_pickle(bytes_of(file), "file"); }
void read_zip(const std::string& file) { parse_zip(bytes_of(file), "file"); }
void read_npy(const std::string& file) { parse_npy(bytes_of(file), "file"); }
void read_plan(const std::string& file) { Plan::from_json(Json::parse(file, "file"), "file"); }
void read_lines(const std::string& file) { parse_jsonl(file, "file"); }
void read_tokenizer(const std::string& file) { Tokenizer::parse(file, "file"); }
/// And a text of one word.
void encode_word(const std::string& file) {
  Tokenizer::parse(file, "file").encode(std::string(kMega / 5, 'a'));
}

std::string little(uint64_t value, size_t bytes) {
  std::string out;
  for (; bytes > 0; --bytes, value >>= 8) out += static_cast<char>(value);
  return out;
}

std::string tensors(const std::string& header) { return little(header.size(), 8) + header; }

/// Names of `count` distinct tokens.
std::string name_of(size_t i) { return fmt::format("t{}", i); }

std::string byte_pairs(const std::string& vocabulary, const std::string& merges,
                       const std::string& pre_tokenizer = "null") {
  return fmt::format(
      R"({{"added_tokens": [], "pre_tokenizer": {}, "model": {{"type": "BPE", "vocab": {{{}}}, "merges": [{}]}}}})",
      pre_tokenizer, vocabulary, merges);
}

/// Ids that a table of the standard library's own hash would have in one bucket.
std::string ids_of_one_bucket(size_t count) {
  std::unordered_map<int32_t, int> table;
  table.reserve(count);
  const size_t step = table.bucket_count();
  return listed(count, [&](size_t i) {
    return fmt::format("\"{}\":{}", name_of(i), i * step % ((size_t{1} << 31) - 1));
  });
}

/// The same of pairs of ids.
std::string merges_of_one_bucket(size_t count) {
  std::unordered_map<uint64_t, int> table;
  table.reserve(count);
  const size_t buckets = table.bucket_count(), high = (size_t{1} << 32) % buckets;
  std::string vocabulary;
  const auto add = [&](const char* kind, size_t i, size_t id) {
    vocabulary += fmt::format("{}\"{}{}\":{}", vocabulary.empty() ? "" : ",", kind, i, id);
  };
  for (size_t i = 0; i < count; ++i) {
    add("l", i, i);
    add("r", i, buckets + (buckets - i * high % buckets) % buckets);
    vocabulary += fmt::format(",\"l{}r{}\":{}", i, i, 3 * buckets + i);
  }
  return byte_pairs(vocabulary,
                    listed(count, [](size_t i) { return fmt::format("\"l{} r{}\"", i, i); }));
}

std::string archive(size_t entries) {
  std::string out, directory;
  for (size_t i = 0; i < entries; ++i) {
    const std::string name = name_of(i);
    const std::string both =
        little(20, 2) + little(0, 2 + 2 + 4 + 4 + 4 + 4) + little(name.size(), 2) + little(0, 2);
    directory += "PK\1\2" + little(20, 2) + both + little(0, 10) + little(out.size(), 4) + name;
    out += "PK\3\4" + both + name;
  }
  return out + directory + "PK\5\6" + little(0, 4) + little(entries, 2) + little(entries, 2) +
         little(directory.size(), 4) + little(out.size(), 4) + little(0, 2);
}

std::vector<Hostile> json_files() {
  return {
      {"nested arrays", std::string(4 * kMega, '['), read_json, 1},
      {"empty arrays", "[" + repeated("[],", kMega) + "0]", read_json, 40},
      {"one-digit numbers", "[" + repeated("0,", 2 * kMega) + "0]", read_json, 60},
      {"empty objects", "[" + repeated("{},", kMega) + "0]", read_json, 40},
      {"keys", "{" + listed(300'000, [](size_t i) { return fmt::format("\"{}\":0", i); }) + "}",
       read_json, 40},
      {"a number of many digits", std::string(4 * kMega, '1'), read_json, 8},
      {"escapes", "\"" + repeated("\\u00e9", kMega) + "\"", read_json, 4},
      {"sites of a plan",
       "{" +
           listed(60'000,
                  [](size_t i) { return fmt::format("\"layer_{}.x\":{{\"lo\":0,\"hi\":1}}", i); }) +
           "}",
       read_plan, 40},
      {"short lines", repeated("{\"text\":\"\"}\n", 200'000), read_lines, 20},
  };
}

std::vector<Hostile> tensor_files() {
  const auto entry = [](size_t i) {
    return fmt::format(R"("{}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", i);
  };
  return {
      {"empty tensors", tensors("{" + listed(80'000, entry) + "}"), read_tensors, 24},
      {"a tensor of many dimensions",
       tensors(R"({"a":{"dtype":"U8","shape":[)" + repeated("1,", kMega) +
               R"(0],"data_offsets":[0,0]}})"),
       read_tensors, 60},
      {"an array of many dimensions",
       "\x93NUMPY\x02" + std::string(1, '\0') + little(2 * kMega + 60, 4) +
           "{'descr': '<f4', 'fortran_order': False, 'shape': (" + repeated("1,", kMega) + ")}",
       read_npy, 20},
      {"entries", archive(60'000), read_zip, 8},
  };
}

/// A list of `count` times a list of `count` None.
std::string shared_lists(size_t count) {
  return "\x80\x02](](" + std::string(count, 'N') + "eq\1" + repeated("h\1", count) + "e.";
}

std::vector<Hostile> pickles() {
  return {
      {"nested tuples", "\x80\x02N" + repeated("\x85", 4 * kMega) + ".", read_pickle, 60},
      {"empty lists", "\x80\x02" + repeated("]", 4 * kMega) + ".", read_pickle, 60},
      {"empty dictionaries", "\x80\x02" + repeated("}", 4 * kMega) + ".", read_pickle, 60},
      {"marks", "\x80\x02" + repeated("(", 4 * kMega) + ".", read_pickle, 20},
      {"memos", "\x80\x02N" + repeated("\x94", 4 * kMega) + ".", read_pickle, 60},
      {"a list in a list, shared", shared_lists(100'000), read_pickle, 80, 100e6},
      {"classes",
       "\x80\x02" +
           [] {
             std::string out;
             for (size_t i = 0; i < 200'000; ++i) out += "c" + name_of(i) + "\nb\n";
             return out;
           }() +
           ".",
       read_pickle, 40},
  };
}

std::vector<Hostile> tokenizers() {
  const std::string letters = R"("a":0,"aa":1,"aaaa":2)";
  const std::string ab = R"("a a","aa aa")";
  const std::string split =
      R"({{"type":"Split","pattern":{{"Regex":"{}"}},"behavior":"Isolated"}})";
  return {
      {"ids of one bucket", byte_pairs(ids_of_one_bucket(40'000), ""), read_tokenizer, 60},
      {"merges of one bucket", merges_of_one_bucket(80'000), read_tokenizer, 60},
      {"a word of one letter", byte_pairs(letters, ab), encode_word, 200, 100e6},
      {"an expression that backtracks",
       byte_pairs(letters, ab, fmt::format(fmt::runtime(split), "(a*)*b")), encode_word, 200},
      {"a long expression",
       byte_pairs(letters, ab, fmt::format(fmt::runtime(split), repeated("(a|b)?", 10'000))),
       encode_word, 400},
      {"a nested expression",
       byte_pairs(letters, ab,
                  fmt::format(fmt::runtime(split),
                              std::string(20'000, '(') + "a" + std::string(20'000, ')'))),
       encode_word, 400},
      {"a long piece",
       R"({"added_tokens": [], "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<u>", 0], ["a", -1], [")" +
           std::string(100'000, 'a') + R"(", -2]]}})",
       encode_word, 2000},
  };
}

void expect_cheap(const std::vector<Hostile>& files) {
  // Of a processor; the slowest takes a second.
  constexpr double kSeconds = 3;
  for (const Hostile& hostile : files) {
    const auto read = [&] {
      try {
        hostile.read(hostile.file);
      } catch (const Error&) {  // an answer
      }
      return true;
    };
    const auto cost = fixtures::cost_of(read, kMostSeconds);
    EXPECT_TRUE(cost) << hostile.name;
    if (!cost) continue;
    const auto size = static_cast<double>(hostile.file.size());
    if (::getenv("SCUTE_SHOW") != nullptr) {
      fmt::print("{:30} {:9.0f} bytes {:7.2f} s {:8.1f} MB {:7.1f} times\n", hostile.name, size,
                 cost->seconds, static_cast<double>(cost->bytes) / 1e6,
                 static_cast<double>(cost->bytes) / size);
    }
    EXPECT_LT(cost->seconds, kSeconds) << hostile.name;
    EXPECT_LT(static_cast<double>(cost->bytes), hostile.multiple * size + hostile.free)
        << hostile.name;
  }
}

TEST(HostileFiles, Json) { expect_cheap(json_files()); }
TEST(HostileFiles, Tensors) { expect_cheap(tensor_files()); }
TEST(HostileFiles, Pickles) { expect_cheap(pickles()); }
TEST(HostileFiles, Tokenizers) { expect_cheap(tokenizers()); }

}  // namespace
}  // namespace scute::hostile_files_test
