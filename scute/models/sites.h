// The sites of a model as they are built, layer by layer.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "scute/tensor/tap.h"

namespace scute {

/// All sites of one model in the order tensors reach them, and the other names some of them have.
class SiteList {
 public:
  SiteList();
  SiteList(const SiteList&);
  SiteList(SiteList&&) noexcept;
  SiteList& operator=(const SiteList&);
  SiteList& operator=(SiteList&&) noexcept;
  ~SiteList();

  Site add(std::string name, Shape shape, Site::Extent extent = Site::Extent::per_token);
  /// The input of a product and its `NAME@rotated` twin. A plain model shows both, the twin only
  /// where a Hadamard transform of that width exists; one that works on rotated inputs has the twin
  /// alone. A site that is not shown has index −1 (never wanted).
  enum class Input { plain, rotated };
  /// The input of a product, plain and rotated.
  struct InputSites {
    Site plain, rotated;
    /// Whether the product reads the rotated input.
    bool rotates() const { return plain.index < 0; }
  };
  InputSites add_input(const std::string& name, int64_t width, Input input,
                       Site::Extent extent = Site::Extent::per_token);
  /// Says that the columns of `whole` are those of `parts` side by side.
  void compose(const Site& whole, const std::vector<Site>& parts);
  /// `alias` is another name of `name`, which is there: Error otherwise.
  void alias(std::string alias, std::string name);
  /// The same of an input, and of its twin: of what is shown of them.
  void alias_input(const std::string& alias, const std::string& name);

  const std::vector<Site>& sites() const { return sites_; }
  const std::map<std::string, std::string>& aliases() const { return aliases_; }

  /// The site of this name or alias, or null.
  const Site* find(std::string_view name) const;
  /// Sites matching a glob (over names and aliases), in order; Error naming `where` and the nearest
  /// names when there is none.
  std::vector<Site> match(std::string_view glob, std::string_view where) const;

 private:
  std::vector<Site> sites_;
  std::map<std::string, std::string> aliases_;
};

/// How a product's input looks in a model where it may be rotated.
inline SiteList::Input input_of(bool rotated) {
  return rotated ? SiteList::Input::rotated : SiteList::Input::plain;
}

}  // namespace scute
