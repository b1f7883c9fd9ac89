// Configs as short texts, for tests.
#pragma once

#include <string>

#include "scute/base/error.h"
#include "scute/language/model_folder.h"

namespace scute::testing_families {

/// Of a config.json with these keys.
inline ModelDescription described_as(const std::string& keys) {
  return describe_config(Json::parse("{" + keys + "}", "config.json"), "config.json");
}

/// What is wrong with it; empty: nothing.
inline std::string problem_of(const std::string& keys) {
  try {
    described_as(keys);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace scute::testing_families
