#include "scute/io/file_contents.h"

#include <gtest/gtest.h>

#include <fstream>

#include "scute/io/safetensors.h"
#include "scute/io/testing.h"

namespace scute::file_contents_test {
namespace {

TEST(ContentsOf, TellsFormatsByTheirBytesNotTheirNames) {
  const fixtures::Folder folder;
  const auto is = [&](const std::string& bytes) {
    const std::string path = folder / "file.txt";
    std::ofstream(path, std::ios::binary) << bytes;
    return contents_of(path);
  };
  EXPECT_EQ(is("The sea was calm.\n"), "text");
  EXPECT_EQ(is("\xEF\xBB\xBFThe sea, m\xC3\xA4\xC3\x9Fig"), "text");
  EXPECT_EQ(is(""), "text");
  EXPECT_EQ(is("{\n \"a\": 1\n}\n"), "JSON");
  EXPECT_EQ(is(" [1, 2]"), "JSON");
  EXPECT_EQ(is("{\"text\": \"a\"}\n{\"text\": \"b\"}\n"), "JSON lines");
  EXPECT_EQ(is("{\"text\": \"a\"}\r\n"), "JSON lines");
  EXPECT_EQ(is(std::string("\x93NUMPY\x01\x00", 8)), "a .npy array");
  EXPECT_EQ(is("\x89PNG\r\n"), "a picture");
  EXPECT_EQ(is("GGUF\x03"), kGgufContents);
  EXPECT_EQ(is("PK\x03\x04"), "a zip archive (.pt, .npz)");
  EXPECT_EQ(is(std::string("\x00\x01\x02", 3)), "another format");
  const std::string path = folder / "a.json";
  write_safetensors(path, {}, {});
  EXPECT_EQ(contents_of(path), "a safetensors file");
  write_safetensors(path, {}, {{"format", "scute-statistics"}});
  EXPECT_EQ(contents_of(path), "statistics that scute collected");
  EXPECT_EQ(contents_of(folder.path()), "a folder");
  EXPECT_EQ(contents_of(folder / "none"), "no readable file");
}

}  // namespace
}  // namespace scute::file_contents_test
