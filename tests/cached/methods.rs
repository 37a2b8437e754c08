//! Cached methods.

use super::*;

struct Shop {
    cache: Cache,
    runs: u32,
}

impl Shop {
    /// `self` is not part of the key.
    #[cached(cache = self.cache)]
    pub fn price(&self, article: &str) -> i64 {
        article.len() as i64 + i64::from(self.runs)
    }

    #[cached(cache = self.cache, scope = "counts")]
    fn count(&mut self, article: &str) -> u32 {
        self.runs += 1;
        self.runs + article.len() as u32
    }

    #[cached(cache = self.cache, scope = "whole")]
    fn into_count(self, article: &str) -> u32 {
        let shop = self;
        shop.runs + article.len() as u32
    }

    #[cached(cache = CACHE)]
    fn of_all(article: &str) -> String {
        Self::named(article)
    }

    fn named(article: &str) -> String {
        format!("the {article}")
    }
}

#[test]
fn methods() {
    let mut shop = Shop { cache: Cache::memory(), runs: 0 };
    assert_eq!((shop.price("pen"), shop.count("pen"), shop.count("pen")), (3, 4, 4));
    assert_eq!((shop.runs, shop.price("pen"), shop.price_refresh("pen")), (1, 3, 4));
    assert!(shop.price_forget("pen").unwrap());
    let other = Shop { cache: Cache::memory(), runs: 10 };
    assert_eq!(other.price("pen"), 13, "it has another cache");
    let same = Shop { cache: shop.cache.clone(), runs: 50 };
    assert_eq!(same.count_refresh_of_another(), 4);
    assert_eq!((shop.into_count("pen"), same.into_count("pen")), (4, 4));
    assert_eq!(
        (Shop::of_all("pen"), Shop::of_all_refresh("pen")),
        ("the pen".into(), "the pen".into())
    );
}

impl Shop {
    /// Returns the stored value of `count` in this cache.
    fn count_refresh_of_another(&self) -> u32 {
        let mut copy = Self { cache: self.cache.clone(), runs: 99 };
        copy.count("pen")
    }
}
