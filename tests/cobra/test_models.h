// For tests: the models of tests/golden/cobra (scripts/make_cobra.py) as folders of their own.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "scute/base/error.h"
#include "scute/cobra/folder.h"
#include "scute/language/test_models.h"

namespace scute::cobra_models {

inline const std::string kGolden = "tests/golden/cobra";
inline const std::string kPictures = kGolden + "/pictures";

/// A copy of model/ in which the parts that a variant has of its own are the variant's; removed in
/// the end.
class CobraFolder {
 public:
  explicit CobraFolder(const std::string& name = "model") {
    namespace fs = std::filesystem;
    for (const char* part : {"config.json", "checkpoints", "llm", "vision/dino", "vision/siglip"}) {
      fs::path from = fs::path(kGolden) / name / part;
      if (!fs::exists(from)) from = fs::path(kGolden) / "model" / part;
      fs::create_directories(fs::path(file(part)).parent_path());
      fs::copy(from, file(part), fs::copy_options::recursive);
    }
  }

  std::string path() const { return folder_.path("cobra"); }
  std::string file(const std::string& name) const { return path() + "/" + name; }
  void remove(const std::string& name) const { std::filesystem::remove_all(file(name)); }
  /// Changes a file's text, in which `from` must occur.
  void edit(const std::string& name, const std::string& from, const std::string& to) const {
    std::string text = read_text(file(name));
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from << " in " << name;
    write_file(file(name), text.replace(at, from.size(), to));
  }

 private:
  fixtures::Folder folder_;
};

/// What an Error says; "" and a failed test when there is none.
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no Error";
  return "";
}

}  // namespace scute::cobra_models
