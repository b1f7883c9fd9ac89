// Texts and ids from what has no name: standard input and the shell's pipes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/data/documents.h"
#include "scute/io/file.h"
#include "scute/io/test_npy.h"
#include "scute/io/testing.h"

namespace scute::nameless_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A pipe that holds a few bytes, by the name that a shell gives it.
class Pipe {
 public:
  explicit Pipe(std::string_view bytes) {
    int ends[2] = {};
    EXPECT_EQ(::pipe(ends), 0);
    EXPECT_EQ(::write(ends[1], bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    ::close(ends[1]);
    end_ = ends[0];
  }
  ~Pipe() { ::close(end_); }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  std::string name() const { return "/dev/fd/" + std::to_string(end_); }

 private:
  int end_ = -1;
};

std::vector<std::string> texts_in(std::string_view bytes) {
  const Pipe pipe(bytes);
  std::vector<std::string> out;
  for (const Document& document : read_documents({pipe.name()})) out.push_back(document.text);
  return out;
}

TEST(Nameless, WhatItBeginsWithTellsTheFormat) {
  EXPECT_THAT(texts_in("one\ntwo\n\nthree\n"), ElementsAre("one\ntwo", "three"));
  EXPECT_THAT(texts_in("\xEF\xBB\xBF\n {\"text\": \"a\"}\n{\"text\": \"b\"}\n"),
              ElementsAre("a", "b"));
  EXPECT_THAT(texts_in("[ {\"text\": \"a\"}, {\"text\": \"b\"}]"), ElementsAre("a", "b"));
  EXPECT_THAT(texts_in("[1] is a footnote"), ElementsAre("[1] is a footnote"));
}

TEST(Nameless, HoldsIdsToo) {
  const fixtures::Folder folder;
  const std::string file = folder / "ids.npy";
  const std::vector<int32_t> ids{3, 1, 2};
  write_npy(file, Tensor::of(Shape{3}, std::span<const int32_t>(ids)));
  const Pipe array(read_text(file));
  EXPECT_EQ(read_stream(array.name(), nullptr), ids);
  const Pipe raw(std::string_view("\3\0\1\0\2\0", 6));
  TextInput input;
  input.raw_ids = RawIds::u16;
  EXPECT_EQ(read_stream(raw.name(), nullptr, input), ids);
}

TEST(Nameless, IsReadOnceAndHashedAsRead) {
  const std::string text = "{\"ids\": [1, 2]}\n";
  const Pipe pipe(text);
  const TextInput input, copy = input;
  EXPECT_EQ(read_documents({pipe.name()}, input).size(), 1u);
  EXPECT_EQ(copy.files->sha256(pipe.name()), sha256(text));
  EXPECT_EQ(read_documents({pipe.name()}, copy).size(), 1u);
}

}  // namespace
}  // namespace scute::nameless_test
