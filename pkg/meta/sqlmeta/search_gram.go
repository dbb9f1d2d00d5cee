package sqlmeta

import (
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// gramsOf are the distinct grams of a term: hashes of each three characters with tenant and
// kind, so that no other tenant's terms are read by them, unless by chance. A term that has
// a text inside has all grams of the text.
func gramsOf(t tenant.ID, kind meta.SearchKind, term string) []int32 {
	runes := []rune(term)
	prefix := strconv.FormatInt(int64(t), 10) + "/" + strconv.Itoa(int(kind)) + "/"
	var grams []int32
	for i := 0; i+meta.SearchGram <= len(runes); i++ {
		h := fnv.New32a()
		_, _ = h.Write([]byte(prefix + string(runes[i:i+meta.SearchGram])))
		grams = append(grams, int32(h.Sum32()))
	}
	slices.Sort(grams)
	return slices.Compact(grams)
}

// gramWords are grams as FTS5 has them.
func gramWords(grams []int32, separator string) string {
	words := make([]string, len(grams))
	for i, g := range grams {
		words[i] = "g" + strconv.FormatUint(uint64(uint32(g)), 16)
	}
	return strings.Join(words, separator)
}
